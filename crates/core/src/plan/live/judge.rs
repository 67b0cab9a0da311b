//! What is to be done to one object, for whole plans and for healing alike.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::digest::{FieldsDigest, ObjectDigest};
use crate::model::fleet::DriftMode;
use crate::model::object::ObjectKey;
use crate::model::release::ReleaseObject;

use crate::plan::live_rules::allows_replace;

use super::types::{Context, HoldUntil, InventoryEntry, ObservedObject, Origin, Verb, Why};

/// An object as the release wants it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub digest: ObjectDigest,
    /// Whether conflicts may be forced on the first apply: the layer says `adopt: true`, or a person said so.
    pub adopt: bool,
    /// Whether objects of its kind could not be read: then `observed` says nothing.
    pub unread: bool,
    /// The ignored fields that other managers own (see [`yields`](super::yields)).
    pub yields: &'a [String],
}

/// See [`Action`](super::Action) for the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verb: Verb,
    pub why: Why,
    pub force: bool,
    pub origin: Option<Origin>,
}

/// Whether an object was there before our first apply of it: `created` is its creationTimestamp, `intended` the
/// server's time in the intent. The answer to the request is no judge, for it may be lost. Both are whole seconds;
/// an object of the same second counts as ours.
pub fn was_there_before(created: Option<Timestamp>, intended: Timestamp) -> bool {
    created.is_some_and(|created| created.as_second() < intended.as_second())
}

/// Decides about one object of the release. `key` is resolved; `observed` is None when it was not seen under our
/// label. The entry comes from `ctx.inventory`.
pub fn judge(
    key: &ObjectKey,
    wanted: &Wanted<'_>,
    observed: Option<&ObservedObject>,
    ctx: &Context<'_>,
) -> Judgement {
    let entry = ctx.inventory.objects.get(key);
    let recorded = entry.filter(|entry| entry.applied.is_some());
    let glass = observed.and_then(|seen| seen.glass.as_deref()).filter(|glass| glass.holds(ctx.now));
    let case = Case { key, wanted, entry, recorded, glass, ctx };
    match observed {
        _ if wanted.unread => case.unread(),
        None => case.missing(None),
        Some(seen) => case.seen(seen),
    }
}

struct Case<'a> {
    key: &'a ObjectKey,
    wanted: &'a Wanted<'a>,
    entry: Option<&'a InventoryEntry>,
    /// The entry, if a result was recorded: the object is known to have been ours.
    recorded: Option<&'a InventoryEntry>,
    /// A person keeps it from being healed now.
    glass: Option<&'a HoldUntil>,
    ctx: &'a Context<'a>,
}

impl Case<'_> {
    fn heals(&self) -> bool {
        self.ctx.assignment.policy.drift.mode == DriftMode::Heal && self.glass.is_none()
    }

    /// Whether the last result says that just this was applied.
    fn done(&self) -> bool {
        self.recorded.is_some_and(|entry| entry.applied == Some(self.wanted.digest))
    }

    fn say(&self, verb: Verb, why: Why, force: bool, origin: Option<Origin>) -> Judgement {
        Judgement { verb, why, force, origin }
    }

    /// Drift: put right, or only said.
    fn drift(&self, why: Why, origin: Option<Origin>) -> Judgement {
        let verb = if self.heals() { Verb::Heal } else { Verb::Report };
        let held = self.glass.and_then(|glass| Some((glass.until?, glass.by.join(", "))));
        let why = held.map_or(why, |(until, by)| Why::BreakGlass { until, by });
        self.say(verb, why, self.heals(), origin)
    }

    /// Origin once a forced apply is through: shared objects become ours in full.
    fn after_force(&self, origin: Origin) -> Origin {
        if origin == Origin::Adopted && self.wanted.adopt { Origin::Taken } else { origin }
    }

    fn unread(&self) -> Judgement {
        match self.recorded {
            Some(entry) if self.done() => {
                self.say(Verb::Compare, Why::Unread, self.heals(), Some(entry.origin))
            }
            Some(entry) => self.update(entry.origin),
            None => self.say(Verb::Create, Why::Unread, self.wanted.adopt, None),
        }
    }

    /// Not there, or not under our label.
    fn missing(&self, why: Option<Why>) -> Judgement {
        match self.recorded {
            None => self.say(Verb::Create, why.unwrap_or(Why::New), self.wanted.adopt, None),
            Some(entry) if self.done() && entry.finished => {
                self.say(Verb::Unchanged, Why::Finished, false, Some(entry.origin))
            }
            Some(entry) if self.done() => self.drift(why.unwrap_or(Why::Missing), Some(entry.origin)),
            Some(entry) => {
                let origin = Some(self.after_force(entry.origin));
                self.say(Verb::Create, why.unwrap_or(Why::Missing), true, origin)
            }
        }
    }

    fn seen(&self, seen: &ObservedObject) -> Judgement {
        let sibling = seen.part_of.as_ref().and_then(|set| self.ctx.siblings.get(set));
        match (&seen.part_of, sibling) {
            (Some(set), _) if &**set == self.ctx.set && self.is_copy(seen) => self.there_before(seen),
            (Some(set), _) if &**set == self.ctx.set => self.ours(seen),
            (_, Some(sibling)) => {
                let theirs = self.recorded.is_some() && sibling.wants.contains(self.key);
                if theirs {
                    // It was ours and changed hands ahead of our own release: leave it to its new owner.
                    let why = Why::HandedOver { to: sibling.fleet.clone() };
                    return self.say(Verb::Unchanged, why, false, self.entry.map(|e| e.origin));
                }
                let adopted = sibling.adopted.contains(self.key) && !self.wanted.adopt;
                let origin = if adopted { Origin::Adopted } else { Origin::Taken };
                let from = sibling.fleet.clone();
                let verb = Verb::TakeOver { from: from.clone() };
                self.unless_terminating(seen, self.say(verb, Why::Moves { from }, !adopted, Some(origin)))
            }
            (Some(set), None) if self.recorded.is_none() => {
                let owner = set.to_string();
                self.say(Verb::Held, Why::ForeignOwner { owner }, false, None)
            }
            _ if self.recorded.is_some() => self.unless_terminating(seen, self.missing(None)),
            _ => self.there_before(seen),
        }
    }

    /// Whether it carries our label only because somebody copied it: no ledger of ours names it, and we set no field
    /// of it.
    fn is_copy(&self, seen: &ObservedObject) -> bool {
        self.entry.is_none() && seen.fields.is_none()
    }

    fn there_before(&self, seen: &ObservedObject) -> Judgement {
        let managers = seen.managers.iter().map(ToString::to_string).collect();
        let origin = if self.wanted.adopt { Origin::Taken } else { Origin::Adopted };
        let why = Why::ThereBefore { managers };
        self.unless_terminating(seen, self.say(Verb::Adopt, why, self.wanted.adopt, Some(origin)))
    }

    fn unless_terminating(&self, seen: &ObservedObject, judgement: Judgement) -> Judgement {
        if !seen.terminating || judgement.verb == Verb::Report {
            return judgement;
        }
        Judgement { verb: Verb::Recreate, why: Why::Terminating, origin: None, ..judgement }
    }

    /// It carries our label.
    fn ours(&self, seen: &ObservedObject) -> Judgement {
        let origin = self.origin_of(seen);
        // Its time to live removes it in two steps.
        if seen.terminating
            && self.done()
            && (seen.finished || self.entry.is_some_and(|entry| entry.finished))
        {
            return self.say(Verb::Unchanged, Why::Finished, false, Some(origin));
        }
        if seen.terminating {
            let verdict =
                if self.done() { self.drift(Why::Terminating, Some(origin)) } else { self.update(origin) };
            return self.unless_terminating(seen, verdict);
        }
        if seen.digest != Some(self.wanted.digest) {
            return if self.done() { self.drift(Why::Drifted, Some(origin)) } else { self.update(origin) };
        }
        match self.remembered() {
            None => {
                let done = self.done();
                let why = if done { Why::ProofLost } else { Why::Unrecorded };
                self.say(Verb::Compare, why, self.heals() || !done, Some(origin))
            }
            Some(fields) if seen.fields == Some(fields) => self.proved(seen, origin),
            Some(_) => {
                let paths = not_in(self.wanted.yields, self.left_out());
                if paths.is_empty() {
                    return self.drift(Why::Drifted, Some(origin));
                }
                self.say(Verb::Compare, Why::Yields { paths }, self.heals(), Some(origin))
            }
        }
    }

    fn proved(&self, seen: &ObservedObject, origin: Origin) -> Judgement {
        if origin == Origin::Adopted && self.wanted.adopt {
            let managers = seen.managers.iter().map(ToString::to_string).collect();
            return self.say(Verb::Adopt, Why::ThereBefore { managers }, true, Some(Origin::Taken));
        }
        let paths = not_in(self.left_out(), self.wanted.yields);
        if paths.is_empty() || !self.heals() {
            return self.say(Verb::Unchanged, Why::Same, false, Some(origin));
        }
        self.say(Verb::Heal, Why::TakesBack { paths }, true, Some(origin))
    }

    /// An adopted object keeps its other owners, so a change is not forced on them.
    fn update(&self, origin: Origin) -> Judgement {
        let force = origin != Origin::Adopted || self.wanted.adopt;
        self.say(Verb::Update, Why::Changed, force, Some(self.after_force(origin)))
    }

    /// The digest of our fields after the apply of just these bytes; that of other bytes proves nothing.
    fn remembered(&self) -> Option<FieldsDigest> {
        self.recorded.filter(|_| self.done()).and_then(|entry| entry.fields)
    }

    fn left_out(&self) -> &[String] {
        self.recorded.map(|entry| entry.left_out.as_slice()).unwrap_or_default()
    }

    fn origin_of(&self, seen: &ObservedObject) -> Origin {
        match self.entry.map(|entry| entry.origin) {
            Some(Origin::Intended { at, .. }) if was_there_before(seen.created, at) => {
                if self.wanted.adopt {
                    Origin::Taken
                } else {
                    Origin::Adopted
                }
            }
            Some(Origin::Intended { generation, .. }) => Origin::Created { generation },
            Some(origin) => origin,
            // Our label without an entry: the ledger was lost. Going back must not delete it.
            None => Origin::Taken,
        }
    }
}

fn not_in(paths: &[String], known: &[String]) -> Vec<String> {
    paths.iter().filter(|path| !known.contains(path)).cloned().collect()
}

/// Whether the release or the live object carries `fairlead.dev/replace: allow`.
pub(super) fn may_replace(object: &ReleaseObject, seen: Option<&ObservedObject>) -> bool {
    const MARK: &[u8] = b"fairlead.dev/replace";
    if seen.is_some_and(|seen| seen.replace_allowed) {
        return true;
    }
    // Few objects have it: parse only those that mention it.
    if !object.bytes.windows(MARK.len()).any(|w| w == MARK) {
        return false;
    }
    let parsed: Option<Value> = serde_json::from_slice(&object.bytes).ok();
    parsed.as_ref().is_some_and(allows_replace)
}
