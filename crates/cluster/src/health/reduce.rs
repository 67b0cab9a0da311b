//! An object as a watch brings it, reduced on arrival.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Verdict, verdict};
use crate::fields;
use crate::text::clean;
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::plan::{Deletion, HoldUntil, ObservedObject};

/// The label that names the ApplySet an object belongs to.
const PART_OF: &str = "applyset.kubernetes.io/part-of";
const DIGEST: &str = "fairlead.dev/digest";
const PRUNE: &str = "fairlead.dev/prune";
const REPLACE: &str = "fairlead.dev/replace";
/// A person keeps the object from being healed until then (RFC 3339).
const HOLD_UNTIL: &str = "fairlead.dev/hold-until";

/// So many finalizers are named.
const MOST_FINALIZERS: usize = 5;
/// Other managers of an object that are remembered.
const MANAGERS: usize = 32;

/// What remains of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    pub key: ObjectKey,
    pub object: ObservedObject,
    pub verdict: Verdict,
}

impl Reduced {
    /// What this takes in memory, in units of a KiB.
    pub fn units(&self) -> usize {
        units(&self.key, &self.object, &self.verdict)
    }
}

/// What an object as it is kept takes in memory, in units of a KiB: one, and what its texts take beyond that.
pub fn units(key: &ObjectKey, object: &ObservedObject, verdict: &Verdict) -> usize {
    let names = key.name().len() + key.namespace().map_or(0, str::len);
    let managers: usize = object.managers.iter().map(|name| name.len() + 32).sum();
    let yielded: usize = object.yielded.iter().map(|path| path.len() + 32).sum();
    let deletion = object.deletion.iter().flat_map(|deletion| &deletion.finalizers);
    let glass = object.glass.iter().flat_map(|glass| &glass.by);
    let said = match verdict {
        Verdict::Progressing(why) | Verdict::Failed(why) => why.len(),
        Verdict::Unbound(class) => class.as_ref().map_or(0, |class| class.len()),
        Verdict::Healthy | Verdict::Terminating => 0,
    };
    let part_of = object.part_of.as_ref().map_or(0, |id| id.len());
    let texts = object.uid.len() + object.resource_version.len() + part_of + said;
    let lists = deletion.chain(glass).map(|text| text.len() + 32).sum::<usize>();
    1 + (names + managers + yielded + texts + lists) / 1_024
}

/// Who looks, and what it ignores.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// Our field manager, `fairlead-<instance>`.
    pub manager: &'a str,
    /// Our set's id: all objects that carry it share it.
    pub set: Option<&'a Arc<str>>,
    pub ignored: &'a [IgnoredPath],
}

fn deletion(metadata: &Value, at: &str) -> Deletion {
    let finalizers = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
    let finalizers = finalizers.filter_map(Value::as_str).take(MOST_FINALIZERS).map(clean).collect();
    Deletion { since: at.parse().ok(), finalizers }
}

impl Observer<'_> {
    /// Reduces a whole object, or for a kind that [`needs_whole`](super::needs_whole) denies, its metadata. The kind
    /// is an argument because items of lists don't name it. None for what has no name or uid: no object of an API
    /// server.
    pub fn reduce(&self, kind: &GroupKind, object: &Value) -> Option<Reduced> {
        let metadata = object.get("metadata")?;
        let text = |field: &str| metadata.get(field).and_then(Value::as_str);
        let annotation = |name: &str| metadata.get("annotations")?.get(name)?.as_str();
        let namespace = text("namespace").unwrap_or_default();
        let key = ObjectKey::new(&kind.group, &kind.kind, namespace, text("name")?);
        let ignored = self.ignored.iter().filter(|path| path.applies_to(&key)).map(|i| i.pattern(&key));
        let ignored: Vec<_> = ignored.collect();
        let reduced = ObservedObject {
            uid: text("uid")?.into(),
            resource_version: text("resourceVersion").unwrap_or_default().into(),
            generation: metadata.get("generation").and_then(Value::as_i64),
            created: text("creationTimestamp").and_then(|at| at.parse::<Timestamp>().ok()),
            digest: annotation(DIGEST).and_then(|digest| digest.parse().ok()),
            part_of: metadata.get("labels").and_then(|l| l.get(PART_OF)?.as_str()).map(|id| self.shared(id)),
            fields: fields::our_digest(object, self.manager),
            managers: fields::other_managers(object, self.manager)
                .into_iter()
                .take(MANAGERS)
                .map(Arc::from)
                .collect(),
            yielded: fields::yielded(object, self.manager, ignored.iter().map(|pattern| &**pattern)),
            prune_allowed: annotation(PRUNE) == Some("allow"),
            replace_allowed: annotation(REPLACE) == Some("allow"),
            terminating: text("deletionTimestamp").is_some(),
            shared: fields::is_shared(object, self.manager),
            finished: key.is("batch", "Job") && is_finished(object),
            deletion: text("deletionTimestamp").map(|at| Box::new(deletion(metadata, at))),
            glass: annotation(HOLD_UNTIL).map(|until| Box::new(self.glass(object, until))),
        };
        Some(Reduced { verdict: verdict(kind, object), object: reduced, key })
    }

    fn glass(&self, object: &Value, until: &str) -> HoldUntil {
        let pointer = format!("/metadata/annotations/{}", HOLD_UNTIL.replace('/', "~1"));
        HoldUntil { until: until.parse().ok(), by: fields::owners(object, self.manager, &pointer) }
    }

    fn shared(&self, set: &str) -> Arc<str> {
        self.set.filter(|ours| ***ours == *set).map_or_else(|| Arc::from(set), Arc::clone)
    }
}

/// A Job that has completed, and is removed by its time to live.
fn is_finished(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    let complete = |c: &Value| c["type"] == "Complete" && c["status"] == "True";
    job.pointer("/spec/ttlSecondsAfterFinished").is_some_and(Value::is_number)
        && conditions.is_some_and(|conditions| conditions.iter().any(complete))
}
