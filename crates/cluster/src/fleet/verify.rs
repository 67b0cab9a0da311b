//! The slow, full check behind the proof of unchanged: every object is compared by its values.
//!
//! A watch tells which fields are ours, not what they hold. Someone who writes under our own name and keeps our
//! annotation is found only here.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::jobs::{APPLY, Done, Hand};
use super::run::State;
use super::{Fleet, FleetEnd, Phase};
use crate::answers::Verdict;
use crate::api::{Call, MAX_PAGE, most_of};
use crate::discovery::{Resource, escape};
use crate::error::ApiError;
use crate::ledger::PART_OF;
use crate::stamp;
use fairlead_core::model::assignment::FactBody;
use fairlead_core::model::fleet::DriftMode;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::model::release::ReleaseObject;
use fairlead_core::plan::Verb;

const JSON: &str = "application/json";

/// An object as it should be.
pub struct Expected {
    object: ReleaseObject,
    leave_out: Vec<String>,
}

/// The objects of one kind, as they should be.
pub type Expectations = Vec<(Resource, BTreeMap<ObjectKey, Expected>)>;

impl Hand {
    /// Which objects are not as they should be.
    pub async fn verify(self, kinds: Expectations) -> Done {
        let (mut wrong, mut failed) = (Vec::new(), None);
        for (resource, expected) in &kinds {
            match self.verify_kind(resource, expected, &mut wrong).await {
                Ok(()) => {}
                // What can't be seen of one kind says nothing of the others.
                Err(error @ ApiError::Status(_)) => failed = Some(error),
                Err(error) => return Done::Verified(Err(error)),
            }
        }
        match failed {
            Some(error) if wrong.is_empty() => Done::Verified(Err(error)),
            _ => Done::Verified(Ok(wrong)),
        }
    }

    async fn verify_kind(
        &self,
        resource: &Resource,
        expected: &BTreeMap<ObjectKey, Expected>,
        wrong: &mut Vec<ObjectKey>,
    ) -> Result<(), ApiError> {
        let selector = escape(&format!("{PART_OF}={}", self.set));
        let path = format!("{}?labelSelector={selector}", resource.all());
        let mut differ = Vec::new();
        let take = |live: Value| {
            let name = |field: &str| live["metadata"][field].as_str().unwrap_or_default();
            let key = ObjectKey::new(&resource.group, &resource.kind, name("namespace"), name("name"));
            if expected.get(&key).is_some_and(|expected| !self.covers(&key, expected, &live)) {
                differ.push(key);
            }
            true
        };
        self.session.api.list(&path, JSON, most_of(expected.len()), take).await?;
        for key in differ {
            let Some(expected) = expected.get(&key) else { continue };
            if !self.is_right(resource, &key, expected).await? {
                wrong.push(key);
            }
        }
        Ok(())
    }

    /// Whether everything that would be sent is in the live object.
    fn covers(&self, key: &ObjectKey, expected: &Expected, live: &Value) -> bool {
        let body = stamp::body(&expected.object, key, &self.set, &expected.leave_out);
        body.is_ok_and(|body| {
            // Items of lists don't say what they are.
            let mut named = live.clone();
            named["apiVersion"] = body["apiVersion"].clone();
            named["kind"] = body["kind"].clone();
            stamp::covers(&named, &body)
        })
    }

    /// What is sent need not come back as it was sent (defaults, webhooks, quantities): where it differs, a dry run
    /// says what an apply would make of it, and that is what the live object is compared with.
    async fn is_right(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        expected: &Expected,
    ) -> Result<bool, ApiError> {
        let live = match self.session.api.json(Call::get(resource.object(key)).most(MAX_PAGE)).await {
            // The watch tells.
            Err(error) if error.is_gone() => return Ok(true),
            other => other?,
        };
        let body =
            stamp::body(&expected.object, key, &self.set, &expected.leave_out).map_err(ApiError::Decode)?;
        let path = format!("{}&dryRun=All", self.apply_path(resource, key, true));
        let call = Call::send(Method::PATCH, path, APPLY, body.to_string()).most(MAX_PAGE);
        let would = match self.session.api.json(call).await {
            Ok(would) => would,
            // A refusal is no drift; the next change will meet it.
            Err(ApiError::Status(status)) if status.rule().class.verdict() != Verdict::Cluster => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        Ok(content(would) == content(live))
    }
}

/// An object without what changes by itself.
fn content(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    object
}

impl Fleet {
    /// Starts a full check.
    pub(super) fn verify(&mut self) {
        let (Some(run), Some(discovery)) = (&self.run, &self.discovery) else { return };
        let mut kinds: BTreeMap<GroupKind, (Resource, BTreeMap<ObjectKey, Expected>)> = BTreeMap::new();
        for (number, item) in run.items.iter().enumerate().filter(|(_, item)| item.state == State::Done) {
            let key = &item.action.key;
            let resource = discovery.exact(&key.group_kind(), &item.action.version).filter(|r| r.watchable);
            let (Some(resource), Some(object)) = (resource, run.object(number)) else { continue };
            let left_out = self.stored.ledger.inventory.objects.get(key).map(|entry| entry.left_out.clone());
            let expected = Expected { object: object.clone(), leave_out: left_out.unwrap_or_default() };
            let of_kind =
                kinds.entry(key.group_kind()).or_insert_with(|| (resource.clone(), BTreeMap::new()));
            of_kind.1.insert(key.clone(), expected);
        }
        let hand = self.hand();
        self.jobs.spawn(hand.verify(kinds.into_values().collect()));
    }

    pub(super) async fn verified(
        &mut self,
        answer: Result<Vec<ObjectKey>, ApiError>,
    ) -> Result<(), FleetEnd> {
        let wrong: BTreeSet<ObjectKey> = match answer {
            Ok(wrong) => wrong.into_iter().collect(),
            Err(error) => {
                tracing::warn!(fleet = %self.name, error = %error, "the full check failed");
                self.verify_at = tokio::time::Instant::now() + self.cx.settings.retry.1;
                return Ok(());
            }
        };
        let report = self.run.as_ref().is_some_and(|r| r.assignment.policy.drift.mode == DriftMode::Report);
        if report && !wrong.is_empty() {
            self.say(FactBody::Drift { objects: wrong.into_iter().collect(), healed: false }).await;
            return Ok(());
        }
        if wrong.is_empty() && self.keeps_something() {
            // What hindered its pruning may be gone; no watch of ours tells.
            self.phase = Phase::Begin;
            return Ok(());
        }
        let now = Timestamp::now();
        let held = |key: &ObjectKey| {
            self.eye
                .get(key)
                .and_then(|seen| seen.object.glass.as_ref())
                .is_some_and(|glass| glass.holds(now))
        };
        let (held, wrong): (Vec<ObjectKey>, Vec<ObjectKey>) = wrong.into_iter().partition(held);
        if !held.is_empty() {
            self.say(FactBody::Drift { objects: held, healed: false }).await;
        }
        for key in wrong {
            let Some(item) = self.item(&key) else { continue };
            let Some(run) = &mut self.run else { continue };
            // What is under work is looked at anyway.
            let Some(entry) = run.items.get_mut(item).filter(|entry| entry.state == State::Done) else {
                continue;
            };
            entry.action.verb = Verb::Heal;
            entry.action.force = true;
            (entry.healing, entry.by_value) = (true, true);
            let wait = self.paces.step(&key, tokio::time::Instant::now());
            self.count_heal(item, &key).await;
            self.heal_after(item, &key, wait, false);
        }
        Ok(())
    }
}
