//! Compares a commit with what is: who is affected, who stays, who leaves, what is still quarantined.

use crate::rollout::state::said::said;
use crate::rollout::state::waves::select;
use std::collections::{BTreeMap, BTreeSet};

use super::{failure, orders, waves};
use crate::model::assignment::Purpose;
use crate::model::digest::ReleaseDigest;
use crate::model::fleet::Wave;
use crate::model::name::TargetName;
use crate::model::revision::{Revision, Revisions};
use crate::rollout::effect::Effect;
use crate::rollout::intent::{Intent, TargetIntent};
use crate::rollout::state::interner::ReleaseId;
use crate::rollout::state::target::{Leaving, Target, UnixMillis, Want};
use crate::rollout::state::{ChangeCause, FleetState, Head, Record, Run};
use crate::rollout::status::{CommitState, CommitStatus};

/// Takes over a commit. The one before ends here, wherever it was.
pub fn observe(state: &mut FleetState, intent: Intent, now: UnixMillis, effects: &mut Vec<Effect>) {
    let record = &mut state.record;
    let policy_before = record.head.as_ref().map(|head| head.policy.cluster.clone());
    let waived = waived(record);
    let before = if waived.0.is_empty() { Vec::new() } else { wanted(record) };
    let again = begin(record, &intent, effects);
    let mut joined = merge(record, intent.targets, intent.unknown, now, effects);
    if again {
        joined = record.head.as_ref().map_or(0, |head| head.joined).max(joined);
    }
    failure::lift_changed(record);
    choose_members(record, again);
    waves::wave_through(record);
    // What a person said of a wave, they said of what the commit wants of all.
    let same_waves = record.head.as_ref().is_some_and(|head| head.policy.rollout.waves == waived.1);
    let keeps = !waived.0.is_empty() && same_waves && wanted(record) == before;
    if let Some(head) = &mut record.head {
        head.waived = if keeps { waived.0 } else { BTreeSet::new() };
        head.joined = joined;
        let ended = !matches!(head.run, Run::Rolling | Run::Paused(_));
        if ended && record.targets.iter().any(|target| target.member) {
            head.run = Run::Rolling;
        }
    }
    tidy(record);
    // Its windows may be others.
    state.calendar.clear();
    state.recount();
    let policy = state.record.head.as_ref().map(|head| &head.policy.cluster);
    if policy_before.is_some() && policy_before.as_ref() != policy {
        effects.extend(orders::standing_orders(&state.record));
    }
}

/// The waves that a person let pass, and the waves as they were then.
fn waived(record: &Record) -> (BTreeSet<u16>, Vec<Wave>) {
    let head = record.head.as_ref();
    let waves = head.map(|head| (head.waived.clone(), head.policy.rollout.waves.clone()));
    waves.unwrap_or_default()
}

/// What is wanted of every target, by content; kept only where a person let a wave pass.
fn wanted(record: &Record) -> Vec<(TargetName, Result<Option<ReleaseDigest>, String>)> {
    let content = |target: &Target| match &target.wanted {
        Some(Want::Invalid(diagnostic)) => Err(diagnostic.clone()),
        _ => Ok(target.wanted().map(|release| record.interner.digest(release))),
    };
    record.targets.iter().map(|target| (target.name.clone(), content(target))).collect()
}

/// Writes down the new head; whether it is the same as before.
fn begin(record: &mut Record, intent: &Intent, effects: &mut Vec<Effect>) -> bool {
    let revisions = record.interner.revs(&intent.revisions);
    let before = record.head.take();
    let again =
        before.as_ref().is_some_and(|head| head.revisions == revisions && head.renderers == intent.renderers);
    (record.invalid, record.revision_hold) = (None, None);
    if let (true, Some(mut head)) = (again, before.clone()) {
        (head.policy, head.unknown) = (intent.policy.clone(), intent.unknown);
        record.head = Some(head);
        return true;
    }
    let (cause, subjects) =
        subjects(before.as_ref().map(|head| record.interner.revisions(head.revisions)), intent);
    if let Some(old) = &before {
        supersede(record, old, &subjects, effects);
    }
    record.head = Some(Head {
        revisions,
        renderers: intent.renderers,
        policy: intent.policy.clone(),
        unknown: intent.unknown,
        attempt: 1,
        cause,
        subjects,
        run: Run::Rolling,
        joined: 0,
        waived: BTreeSet::new(),
    });
    false
}

/// The control commit if it moved, else the commit of each profile that did, else the control commit again.
fn subjects(before: Option<&Revisions>, intent: &Intent) -> (ChangeCause, Vec<Revision>) {
    let control = vec![intent.revisions.control.clone()];
    let Some(before) = before.filter(|before| before.control == intent.revisions.control) else {
        return (ChangeCause::Commit, control);
    };
    let moved = intent.revisions.profiles.iter().filter(|(name, now)| before.profiles.get(name) != Some(now));
    let moved: BTreeSet<_> = moved.map(|(_, revision)| revision.clone()).collect();
    if moved.is_empty() {
        (ChangeCause::Renderers, control)
    } else {
        (ChangeCause::Profiles, moved.into_iter().collect())
    }
}

fn supersede(record: &mut Record, old: &Head, new: &[Revision], effects: &mut Vec<Effect>) {
    let Some(by) = new.first() else { return };
    for subject in old.subjects.iter().filter(|subject| !new.contains(subject)) {
        let pending = record.said.iter().find(|status| status.revision == *subject);
        if pending.is_some_and(|status| status.state == CommitState::Pending) {
            let description = format!("superseded by {}", by.commit.short());
            let revision = subject.clone();
            said(record, CommitStatus { revision, state: CommitState::Superseded, description }, effects);
        }
    }
}

/// Brings the head's targets in. Answers how many joined a fleet that had accepted something.
fn merge(
    record: &mut Record,
    mut intents: BTreeMap<TargetName, TargetIntent>,
    unknown: bool,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) -> usize {
    let Some(commit) = record.head_commit() else { return 0 };
    let mut targets = std::mem::take(&mut record.targets);
    let mut joined = 0;
    for target in &mut targets {
        match intents.remove(&target.name) {
            Some(intent) => joined += usize::from(update(record, target, intent, now, effects)),
            None => {
                target.wanted = None;
                target.pinned = false;
                if !unknown && target.leaving.is_none() {
                    target.leaving = Some(Leaving::new(commit, now));
                }
            }
        }
    }
    for (name, intent) in intents {
        let mut target = Target::new(name);
        joined += usize::from(update(record, &mut target, intent, now, effects));
        targets.push(target);
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    record.targets = targets;
    joined
}

/// A target that the accepted commit does not know starts with the accepted profiles, whatever the head has. Whether
/// it joined, or what keeps it out: its definition does not fit these.
fn enter(record: &mut Record, target: &mut Target, intent: &mut TargetIntent) -> Result<bool, String> {
    match intent.entry.take().filter(|_| record.accepted.is_some() && !record.recovering) {
        Some(Ok(release)) => {
            (target.accepted, target.behind) = (Some(record.interner.release(&release)), true);
            Ok(true)
        }
        Some(Err(diagnostic)) if intent.release.is_ok() && !intent.pinned => Err(diagnostic),
        _ => Ok(false),
    }
}

/// Takes over what the head says of a target. Whether it is a new one that starts with what is accepted.
fn update(
    record: &mut Record,
    target: &mut Target,
    mut intent: TargetIntent,
    now: UnixMillis,
    effects: &mut Vec<Effect>,
) -> bool {
    let waited = matches!(target.wanted, Some(Want::NotYet { .. }));
    let mut enters = target.wanted.is_none() && target.generation == 0 || waited;
    if target.gone() {
        // It comes back: what its inventory holds counts, its base is void.
        // Its worker still is as suspended as it was told.
        let (name, link) = (target.name.clone(), target.link.clone());
        let (generation, suspend) = (target.generation, target.suspend);
        *target = Target { link, generation, suspend, ..Target::new(name) };
        enters = true;
    }
    let entered = if enters { enter(record, target, &mut intent) } else { Ok(false) };
    target.leaving = None;
    target.behind |= target.order.is_none() && target.accepted.is_some();
    target.wanted = Some(match intent.release {
        Ok(release) => {
            let known = [target.accepted, target.ordered(), target.base, target.converged];
            let known =
                known.into_iter().flatten().find(|known| record.interner.digest(*known) == release.digest);
            Want::Release(known.unwrap_or_else(|| record.interner.release(&release)))
        }
        Err(diagnostic) => Want::Invalid(diagnostic),
    });
    let joined = entered.unwrap_or_else(|not_yet| {
        target.wanted = Some(Want::NotYet { not_yet });
        false
    });
    target.pinned = intent.pinned;
    target.select = select(record, &intent.labels);
    target.unmet = intent.unmet;
    target.time_zone = intent.time_zone;
    if target.suspend != intent.suspend {
        target.suspend = intent.suspend;
        target.restart_clocks(now);
        effects.push(Effect::Suspend { target: target.name.clone(), suspend: intent.suspend });
    }
    let wanted = target.wanted();
    let failed = target.failure.as_ref().map(|failure| failure.release);
    let stands = |release: ReleaseId| {
        [wanted, target.accepted].into_iter().flatten().any(|w| record.interner.same(w, release))
    };
    if failed.is_some_and(|release| !stands(release)) {
        target.failure = None;
    }
    joined
}

/// Chooses whom the head's rollout affects. `again`: the head is the same, so who was in it stays in it.
pub fn choose_members(record: &mut Record, again: bool) {
    let (mut members, mut kept) = (Vec::with_capacity(record.targets.len()), Vec::new());
    let whole = |target: &Target| {
        target
            .wanted()
            .and_then(|wanted| record.quarantine_of(target, wanted))
            .is_some_and(|group| group.whole)
    };
    let held: Vec<bool> =
        record.targets.iter().map(|target| !record.groups.is_empty() && whole(target)).collect();
    let quarantined = held.contains(&true);
    for (target, held) in record.targets.iter().zip(&held) {
        // What failed on others is no release to start a new cluster with, in whatever words.
        let newcomer = target.behind && target.base.is_none();
        let stays = again && target.member && may_be_member(record, target);
        members.push(!(quarantined && newcomer) && (stays || is_member(record, target)));
        kept.push(again && (target.member || *held || target.behind));
    }
    for (target, member) in record.targets.iter_mut().zip(&members) {
        target.member = *member;
    }
    let affected: Vec<bool> = members.iter().zip(&held).map(|(member, held)| *member || *held).collect();
    waves::place(record, &affected, &kept);
}

fn may_be_member(record: &Record, target: &Target) -> bool {
    let wanted = target.wanted().filter(|_| !target.pinned && target.leaving.is_none());
    let failed = target.failure.as_ref().filter(|failure| !failure.excused).map(|failure| failure.release);
    wanted.is_some_and(|wanted| match record.quarantine_of(target, wanted) {
        None => true,
        // It returned alone, and counts against the commit until that is accepted or ends.
        Some(group) => !group.whole && failed.is_some_and(|failed| record.interner.same(failed, wanted)),
    })
}

pub fn is_member(record: &Record, target: &Target) -> bool {
    if !may_be_member(record, target) {
        return false;
    }
    let wanted = target.wanted();
    let Some(order) = &target.order else { return !record.same(wanted, target.accepted) };
    let on_the_way = !target.behind && order.purpose != Purpose::CatchUp;
    let elsewhere = !record.same(Some(order.release), wanted) || !order.converged();
    !record.same(wanted, target.accepted) || (on_the_way && elsewhere)
}

/// After acceptance: who is not where the head wants it catches up alone.
pub fn leave_behind(record: &mut Record) {
    let Record { targets, interner, .. } = record;
    for target in targets.iter_mut().filter(|target| !target.pinned && target.leaving.is_none()) {
        let Some(wanted) = target.wanted() else { continue };
        if !target.accepted.is_some_and(|accepted| interner.same(accepted, wanted)) {
            (target.accepted, target.behind) = (Some(wanted), true);
        }
    }
}

/// Forgets what nothing names any more.
fn tidy(record: &mut Record) {
    let groups = &record.groups;
    for target in &mut record.targets {
        target.quarantine.retain(|pair| groups.contains_key(&pair.1));
    }
    let targets = record.targets.iter().filter(|target| target.leaving.is_some());
    let leaving: BTreeSet<_> = targets.map(|target| target.name.clone()).collect();
    record.may_leave.retain(|name| leaving.contains(name));
    let Record { interner, targets, head, accepted, .. } = record;
    let used = targets.iter_mut().flat_map(Target::releases_mut);
    interner.compact(used, head.iter_mut().map(|head| &mut head.revisions).chain(accepted.iter_mut()));
}
