//! Counts and queues over a fleet's targets, kept with each change so that a fact costs the same in a fleet
//! of 5 and of 5,000.

use std::collections::BTreeSet;

use super::waves::{self, wave_of};
use super::window_queues::WindowQueues;
use crate::model::assignment::Purpose;
use crate::model::fleet::Offline;
use crate::rollout::reason::Absent;
use crate::rollout::state::Record;
use crate::rollout::state::interner::ReleaseId;
use crate::rollout::state::target::{Link, Order, Phase, Target, UnixMillis, Want};

/// For what a target could start now, were there room and its windows open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Waits for room in its wave.
    Turn,
    /// A member that is at work on an older release: takes the new one without taking more room.
    Swap,
    /// Back to a release that is known to be good: needs no room.
    Revert,
    Pin,
}

/// What one target adds to the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classification {
    wave: usize,
    queue: Option<Queue>,
    catches_up: bool,
    deadline: Option<UnixMillis>,
    member: bool,
    converged: bool,
    done: bool,
    baking: bool,
    away: bool,
    stalled: bool,
    suspended: bool,
    failed: bool,
    blocking: bool,
    unapproved: bool,
    changing: bool,
    changing_to_wanted: bool,
    catching_up: bool,
    behind: bool,
    returning: bool,
    leaving: bool,
    invalid: bool,
    unknown: bool,
    held: bool,
    held_member: bool,
    moving: bool,
    bad: bool,
    pinning: bool,
    quarantined: bool,
    lingers: bool,
}

/// Counts over one wave, or over all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaveCounts {
    /// Members of the rollout.
    pub affected: usize,
    /// Members that converged at what the head wants and are healthy.
    pub converged: usize,
    /// Of these, the ones that have baked: nobody waits for them any more.
    pub done: usize,
    /// Of these, the ones that have not, and are watched.
    pub baking: usize,
    /// Members that are not to be had: offline, suspended, stalled for too long; and not done.
    pub away: usize,
    /// Of these, the ones that answer, and are stalled by problems of their own.
    pub stalled: usize,
    /// Of these, the ones that are suspended.
    pub suspended: usize,
    /// Members that failed, and count.
    pub failed: usize,
    /// Members that must still converge and bake before the wave is passed.
    pub blocking: usize,
    /// Of these, the ones that may not start because nobody approved it.
    pub unapproved: usize,
    /// At work on a change.
    pub changing: usize,
    pub changing_to_wanted: usize,
    pub catching_up: usize,
    /// Missed what was accepted, and may yet catch up.
    pub behind: usize,
    /// What the head wants is quarantined there by a rollout that failed.
    pub quarantined: usize,
    /// Whether the change affects them is not known: their documents are invalid, or can't be read.
    pub unknown: usize,
    /// Members at work that wait for a person.
    pub held: usize,
    /// Members at work that don't.
    pub moving: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    pub waves: Vec<WaveCounts>,
    pub all: WaveCounts,
    /// On the way to their pins.
    pub pinning: usize,
    pub returning: usize,
    /// Members that failed, and count.
    pub failed: BTreeSet<usize>,
    /// Will leave, but are not told yet.
    pub leaving: BTreeSet<usize>,
    /// Held by a diagnostic.
    pub invalid: BTreeSet<usize>,
    /// Wait for a person.
    pub held: BTreeSet<usize>,
    /// Converged, and dropped objects are still being deleted.
    pub lingers: BTreeSet<usize>,
    /// What the head wants has failed there.
    pub bad: BTreeSet<usize>,
    pub queues: WindowQueues,
    pub deadlines: BTreeSet<(UnixMillis, usize)>,
}

impl Classification {
    pub fn of(target: &Target, record: &Record, waves: usize) -> Self {
        let wanted = target.wanted();
        let order = target.order.as_ref().filter(|_| !target.gone());
        let on = |release| order.is_some_and(|order| record.same(Some(order.release), release));
        let on_wanted = wanted.is_some() && on(wanted);
        let at_work = order.is_some_and(|order| order.at_work());
        let given_up =
            order.is_some_and(|order| matches!(order.phase, Phase::Stalled { given_up: true, .. }));
        let healthy =
            order.is_some_and(|order| matches!(order.phase, Phase::Converged { unhealthy: None, .. }));
        let bakes = order.is_some_and(|order| matches!(order.phase, Phase::Converged { bake: Some(_), .. }));
        let gone = target.offline() || target.suspend || given_up;
        let converged = target.member && on_wanted && healthy && !(bakes && gone);
        let done = converged && !bakes;
        let failed_here = |release| {
            target.failure.as_ref().is_some_and(|failure| record.same(Some(failure.release), release))
        };
        let quarantine = wanted.and_then(|release| record.quarantine_of(target, release));
        let failed = target.member && failed_here(wanted);
        let away = target.member && !done && !failed && gone;
        let skips = target.suspend
            || record.head.as_ref().is_none_or(|head| head.policy.rollout.offline == Offline::Skip);
        let skipped = away && skips;
        let bad = wanted.is_some() && (failed_here(wanted) || quarantine.is_some());
        let with_purpose = |purpose| at_work && order.is_some_and(|order| order.purpose == purpose);
        let changing = with_purpose(Purpose::Change) && !gone;
        let blocking = target.member && !(done || failed || skipped);
        let held = order.is_some_and(Order::held);
        let unread = target.wanted.is_none() && record.head.as_ref().is_some_and(|head| head.unknown);
        Self {
            wave: wave_of(target, waves),
            queue: queue(target, record),
            catches_up: catches_up(target, record),
            deadline: deadline(target, record),
            member: target.member,
            converged,
            done,
            baking: converged && bakes,
            away,
            stalled: away && !target.offline() && !target.suspend,
            suspended: away && target.suspend,
            failed: failed && target.failure.as_ref().is_some_and(|failure| !failure.excused),
            blocking,
            unapproved: blocking && !on_wanted && waves::lacks_approval(record, target),
            changing,
            changing_to_wanted: changing && on_wanted,
            catching_up: with_purpose(Purpose::CatchUp) && !gone,
            behind: target.behind && !bad,
            // What a person suspended goes back when they let it; nobody waits for that.
            returning: !target.suspend
                && order.is_some_and(|order| order.purpose == Purpose::Return && !order.converged()),
            leaving: target.leaving.is_some() && !target.gone(),
            invalid: matches!(target.wanted, Some(Want::Invalid(_))),
            unknown: (matches!(target.wanted, Some(Want::Invalid(_))) || unread) && target.leaving.is_none(),
            held,
            held_member: held && blocking && on_wanted,
            moving: at_work && blocking && !(held && on_wanted) && !gone,
            bad,
            pinning: target.pinned && !(gone || bad || (on_wanted && healthy)),
            quarantined: quarantine.is_some_and(|group| group.whole),
            lingers: healthy && target.kept.as_ref().is_some_and(|kept| kept.deleting > 0),
        }
    }
}

/// Whether a release may be ordered of a target, and would change something.
fn needs(target: &Target, record: &Record, release: ReleaseId) -> bool {
    let failed =
        target.failure.as_ref().is_some_and(|failure| record.interner.same(failure.release, release));
    let barred = failed || record.quarantine_of(target, release).is_some();
    let order = target.order.as_ref();
    !barred && order.is_none_or(|order| !record.interner.same(order.release, release) || order.failed())
}

fn queue(target: &Target, record: &Record) -> Option<Queue> {
    let wanted = target.wanted().filter(|wanted| target.can_start() && needs(target, record, *wanted))?;
    if target.pinned {
        return Some(Queue::Pin);
    }
    if !target.member || !record.rolling() || waves::lacks_approval(record, target) {
        return None;
    }
    let order = target.order.as_ref();
    let stuck = order.is_some_and(|order| matches!(order.phase, Phase::Stalled { given_up: true, .. }));
    let swap = order.is_some_and(|order| order.at_work() && order.purpose == Purpose::Change) && !stuck;
    Some(match target.history.has(record.interner.digest(wanted)) {
        true => Queue::Revert,
        false if swap => Queue::Swap,
        false => Queue::Turn,
    })
}

/// Whether a target could go to what is accepted, which it missed.
fn catches_up(target: &Target, record: &Record) -> bool {
    let ahead = target.member && record.same(target.ordered(), target.wanted());
    let order = target.order.as_ref();
    let free = order.is_none_or(|order| !order.at_work() || order.purpose == Purpose::CatchUp);
    let may = target.behind && !target.pinned && !ahead && free && target.leaving.is_none();
    may && target.can_start() && target.accepted.is_some_and(|accepted| needs(target, record, accepted))
}

/// When something must be looked at, if nothing happens before.
fn deadline(target: &Target, record: &Record) -> Option<UnixMillis> {
    let order = target.order.as_ref().filter(|_| !target.gone() && !target.suspend)?;
    let span = record.head.as_ref()?.policy.rollout.progress_deadline.get();
    let heard = target.link == Link::Online;
    match &order.phase {
        Phase::Working { idle, .. } => heard.then(|| idle.plus(span)),
        Phase::Stalled { since, given_up: false, .. } => heard.then(|| since.plus(span)),
        Phase::Converged { unhealthy: Some((since, _)), .. } => {
            (heard && target.member).then(|| since.plus(span))
        }
        Phase::Converged { unhealthy: None, bake: Some(start), .. } => {
            heard.then(|| start.plus(waves::bake_time(record, target.wave).unwrap_or_default()))
        }
        Phase::Failed { retry_at, .. } => *retry_at,
        Phase::Stalled { .. } | Phase::Held { .. } | Phase::Converged { .. } => None,
    }
}

impl WaveCounts {
    /// Why nobody waits for those of it that are away.
    pub fn absent(&self) -> Absent {
        let unreachable = self.away.saturating_sub(self.stalled + self.suspended);
        Absent { unreachable, suspended: self.suspended, stalled: self.stalled }
    }
}

impl Index {
    pub fn of(record: &Record) -> Self {
        let (waves, queues) = (vec![WaveCounts::default(); waves::count(record)], WindowQueues::new(record));
        let mut counts = Self { waves, queues, ..Self::default() };
        for (index, target) in record.targets.iter().enumerate() {
            counts.add(index, &counts.class(target, record));
        }
        counts
    }

    pub fn class(&self, target: &Target, record: &Record) -> Classification {
        Classification::of(target, record, self.waves.len())
    }

    pub fn add(&mut self, index: usize, class: &Classification) {
        self.count(class, |number, yes| *number += usize::from(yes));
        self.list(index, class, |set| {
            set.insert(index);
        });
        self.deadlines.extend(class.deadline.map(|deadline| (deadline, index)));
    }

    pub fn remove(&mut self, index: usize, class: &Classification) {
        self.count(class, |number, yes| *number = number.saturating_sub(usize::from(yes)));
        self.list(index, class, |set| {
            set.remove(&index);
        });
        if let Some(deadline) = class.deadline {
            self.deadlines.remove(&(deadline, index));
        }
    }

    fn count(&mut self, class: &Classification, change: impl Fn(&mut usize, bool)) {
        for wave in self.waves.get_mut(class.wave).into_iter().chain([&mut self.all]) {
            change(&mut wave.affected, class.member);
            change(&mut wave.converged, class.converged);
            change(&mut wave.done, class.done);
            change(&mut wave.baking, class.baking);
            change(&mut wave.away, class.away);
            change(&mut wave.stalled, class.stalled);
            change(&mut wave.suspended, class.suspended);
            change(&mut wave.failed, class.failed);
            change(&mut wave.blocking, class.blocking);
            change(&mut wave.unapproved, class.unapproved);
            change(&mut wave.changing, class.changing);
            change(&mut wave.changing_to_wanted, class.changing_to_wanted);
            change(&mut wave.catching_up, class.catching_up);
            change(&mut wave.behind, class.behind);
            change(&mut wave.quarantined, class.quarantined);
            change(&mut wave.unknown, class.unknown);
            change(&mut wave.held, class.held_member);
            change(&mut wave.moving, class.moving);
        }
        change(&mut self.pinning, class.pinning);
        change(&mut self.returning, class.returning);
    }

    fn list(&mut self, index: usize, class: &Classification, change: impl Fn(&mut BTreeSet<usize>)) {
        let sets = [
            (class.failed, &mut self.failed),
            (class.leaving, &mut self.leaving),
            (class.invalid, &mut self.invalid),
            (class.held, &mut self.held),
            (class.bad, &mut self.bad),
            (class.lingers, &mut self.lingers),
        ];
        for (_, set) in sets.into_iter().filter(|(yes, _)| *yes) {
            change(set);
        }
        let wave = (class.queue != Some(Queue::Pin)).then_some(class.wave);
        let queued = class.queue.is_some().then(|| self.queues.number(index, wave));
        if let Some(queue) = queued.and_then(|number| self.queues.get_mut(number)) {
            change(match class.queue {
                Some(Queue::Swap) => &mut queue.swaps,
                Some(Queue::Revert) => &mut queue.reverts,
                Some(Queue::Pin) => &mut queue.pins,
                Some(Queue::Turn) | None => &mut queue.turns,
            });
        }
        if class.catches_up {
            let number = self.queues.number(index, Some(class.wave));
            if let Some(queue) = self.queues.get_mut(number) {
                change(&mut queue.catch_ups);
            }
        }
    }
}
