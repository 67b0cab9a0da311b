//! Objects and namespaces that are being deleted: what hinders that, in words.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Fleet;
use super::jobs::{Done, Hand};
use super::run::State;
use crate::api::Call;
use crate::discovery::Resource;
use crate::error::ApiError;
use crate::text::clean;
use fairlead_core::model::object::ObjectKey;

/// How often a namespace is asked what is left in it, while something waits for its end.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// So many namespaces are asked at a time.
const MOST_ASKED: usize = 5;

/// What a namespace said last.
#[derive(Debug)]
pub(super) struct Description {
    at: Instant,
    text: String,
}

impl Hand {
    /// What hinders the end of a namespace, by its own conditions.
    pub async fn describe(self, resource: Resource, key: ObjectKey) -> Done {
        let answer = self.session.api.json(Call::get(resource.object(&key))).await;
        let answer = answer.map(|namespace| {
            let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
            let hinders = conditions.filter(|condition| condition["status"] == "True");
            let said: Vec<String> =
                hinders.filter_map(|condition| condition["message"].as_str()).map(clean).collect();
            said.join("; ")
        });
        Done::Described { key, answer }
    }
}

fn namespace(name: &str) -> ObjectKey {
    ObjectKey::new("", "Namespace", "", name)
}

impl Fleet {
    /// `is still being deleted (finalizers: a/b, since 2026-01-01T00:00:00Z)`
    pub(super) fn deletion_text(&self, key: &ObjectKey) -> String {
        match self.deletion_details(key) {
            details if details.is_empty() => "is being deleted".to_owned(),
            details => format!("is still being deleted ({details})"),
        }
    }

    pub(super) fn deletion_details(&self, key: &ObjectKey) -> String {
        let seen = self.eye.get(key).and_then(|seen| seen.object.deletion.as_ref());
        let seen = seen.map(|deletion| deletion.to_string()).unwrap_or_default();
        let said = self.descriptions.get(key).map(|said| said.text.as_str()).unwrap_or_default();
        [seen.as_str(), said].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("; ")
    }

    /// An item waits for what others asked the cluster for.
    pub(super) fn hold_up(&mut self, item: usize) {
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            entry.held_up = true;
        }
    }

    /// The same, because its namespace is gone or going.
    pub(super) fn hold_up_without_namespace(&mut self, item: usize) {
        if let Some(entry) = self.run.as_mut().and_then(|run| run.items.get_mut(item)) {
            (entry.held_up, entry.no_namespace) = (true, true);
        }
    }

    /// Whether a namespace is known to have been there: something of ours was applied to it.
    pub(super) fn had_namespace(&self, object: &ObjectKey) -> bool {
        let objects = &self.stored.ledger.inventory.objects;
        objects.iter().any(|(key, entry)| entry.applied.is_some() && key.namespace() == object.namespace())
    }

    /// Asks the namespaces whose end is waited for what is left in them; forgets what others said.
    pub(super) fn ask_namespaces(&mut self) {
        let Some(run) = &self.run else { return };
        let items = run.items.iter().filter(|item| item.held_up || item.state == State::Leaving);
        let items = items.map(|item| &item.action.key);
        let leaving = run.lingering().filter(|(leaver, _)| leaver.state == State::Leaving);
        let leaving = leaving.map(|(leaver, _)| &leaver.action.key);
        let of = |key: &ObjectKey| match key.namespace() {
            None if key.is("", "Namespace") => Some(key.clone()),
            within => within.map(namespace),
        };
        let waited: BTreeSet<ObjectKey> = items.chain(leaving).filter_map(of).collect();
        self.descriptions.retain(|key, _| waited.contains(key));
        let asked = |key: &ObjectKey| self.descriptions.get(key).is_some_and(|d| d.at.elapsed() < ASK_AGAIN);
        let due: Vec<ObjectKey> = waited.iter().filter(|key| !asked(key)).take(MOST_ASKED).cloned().collect();
        for key in due {
            let resource = self.discovery.as_ref().and_then(|d| d.find(&key.group_kind(), "v1"));
            let Some(resource) = resource.cloned() else { continue };
            let text = self.descriptions.remove(&key).map(|said| said.text).unwrap_or_default();
            self.descriptions.insert(key.clone(), Description { at: Instant::now(), text });
            let hand = self.hand();
            self.jobs.spawn(hand.describe(resource, key));
        }
    }

    /// When a namespace is to be asked again.
    pub(super) fn namespaces_due(&self) -> Option<Instant> {
        let due = self.descriptions.values().map(|said| said.at + ASK_AGAIN).min()?;
        Some(due.max(Instant::now() + Duration::from_secs(1)))
    }

    pub(super) fn described(&mut self, key: ObjectKey, answer: Result<String, ApiError>) {
        match answer {
            Ok(text) => {
                self.descriptions.insert(key, Description { at: Instant::now(), text });
            }
            Err(error) if error.is_gone() => {
                self.descriptions.insert(key, Description { at: Instant::now(), text: String::new() });
            }
            // What it said before stands.
            Err(_) => {}
        }
    }

    /// Why nothing moves before the cluster is done with what others asked it for, if so.
    pub(super) fn held_up(&self) -> Option<String> {
        let run = self.run.as_ref()?;
        let item = run.items.get(run.held_up()?)?;
        let key = &item.action.key;
        Some(match &item.state {
            State::Leaving => {
                format!("{key} {}; it is created again when it is gone", self.deletion_text(key))
            }
            State::Later { why, .. } => format!("{key}: {why}"),
            _ => format!("{key}: {}", item.why.clone().unwrap_or_default()),
        })
    }
}
