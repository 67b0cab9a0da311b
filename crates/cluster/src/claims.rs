//! Whether a claim without a volume is right so: what its storage class says.
//!
//! In: the cluster's classes, or, where the credential may not list them, the events that the PersistentVolume
//! controller writes on claims. Out: a verdict on a claim. Reading is apart from judging.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::api::{Call, MAX_PAGE};
use super::discovery::escape;
use super::error::ApiError;
use super::health::Verdict;
use super::session::Session;
use fairlead_core::model::object::ObjectKey;

const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// What the controller says of a claim that waits (reason of an event).
const WAITS: &str = "WaitForFirstConsumer";

/// The cluster's storage classes, as far as they matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// Whether a class waits for the first Pod that uses a claim.
    waits: BTreeMap<String, bool>,
    default: Option<String>,
}

impl Classes {
    /// Reads a list. Of several default classes the newest counts, then the first by name (`GetDefaultClass` of
    /// k8s.io/kubernetes/pkg/volume/util).
    pub fn read(list: &Value) -> Self {
        let mut classes = Self::default();
        let mut newest: Option<(&str, std::cmp::Reverse<&str>)> = None;
        for class in list["items"].as_array().into_iter().flatten() {
            let metadata = &class["metadata"];
            let Some(name) = metadata["name"].as_str() else { continue };
            classes.waits.insert(name.to_owned(), class["volumeBindingMode"] == WAITS);
            if DEFAULT.iter().any(|key| metadata["annotations"][*key] == "true") {
                let age =
                    (metadata["creationTimestamp"].as_str().unwrap_or_default(), std::cmp::Reverse(name));
                newest = newest.max(Some(age));
            }
        }
        classes.default = newest.map(|(_, name)| name.0.to_owned());
        classes
    }

    fn of(&self, class: Option<&str>) -> Answer {
        let Some(name) = class.or(self.default.as_deref()) else {
            return Answer::Open("names no storage class, and the cluster has no default one".to_owned());
        };
        match self.waits.get(name) {
            Some(true) => Answer::Waits,
            Some(false) => Answer::Binds,
            None => Answer::Open(format!("its storage class {name} is not there")),
        }
    }
}

/// What is known of why claims are unbound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Known {
    #[default]
    Nothing,
    Classes(Classes),
    /// The classes can't be listed: (namespace, name) of the claims that an event says to be waiting.
    Events(BTreeSet<(String, String)>),
    /// Neither can be listed.
    Unreadable,
}

enum Answer {
    /// It waits for a Pod, as it should.
    Waits,
    /// It is to be bound at once.
    Binds,
    /// Not known, or what it needs is missing: that may change.
    Open(String),
}

impl Known {
    fn of(&self, key: &ObjectKey, class: Option<&str>) -> Answer {
        match self {
            Self::Nothing => Answer::Open("is not bound to a volume yet".to_owned()),
            Self::Classes(classes) => classes.of(class),
            Self::Events(waiting) => {
                let claim = (key.namespace().unwrap_or_default().to_owned(), key.name().to_owned());
                match waiting.contains(&claim) {
                    true => Answer::Waits,
                    false => Answer::Open("is not bound to a volume yet".to_owned()),
                }
            }
            Self::Unreadable => Answer::Open(
                "is not bound to a volume yet; whether its class waits for a Pod is not known: the credential may \
                 list neither storageclasses.storage.k8s.io nor events"
                    .to_owned(),
            ),
        }
    }

    /// The verdict on a claim without a volume. A claim whose class waits for a Pod is healthy: kstatus is not.
    pub fn verdict(&self, key: &ObjectKey, class: Option<&str>) -> Verdict {
        match self.of(key, class) {
            Answer::Waits => Verdict::Healthy,
            Answer::Binds => Verdict::progressing("is not bound to a volume yet"),
            Answer::Open(why) => Verdict::progressing(why),
        }
    }

    /// Whether there is nothing to ask about a claim before something changes.
    pub fn settles(&self, key: &ObjectKey, class: Option<&str>) -> bool {
        !matches!(self.of(key, class), Answer::Open(_))
    }
}

/// Reads the classes in one request; where that is not allowed, the events of the claims' namespaces.
pub async fn read(session: Arc<Session>, namespaces: BTreeSet<String>) -> Result<Known, ApiError> {
    let classes = Call::get("/apis/storage.k8s.io/v1/storageclasses?limit=500").most(MAX_PAGE);
    match session.api.json(classes).await {
        Ok(list) => return Ok(Known::Classes(Classes::read(&list))),
        Err(error) if error.is_forbidden() => {}
        Err(error) => return Err(error),
    }
    let fields = escape(&format!("involvedObject.kind=PersistentVolumeClaim,reason={WAITS}"));
    let mut waiting = BTreeSet::new();
    let mut readable = false;
    for namespace in namespaces {
        let path =
            format!("/api/v1/namespaces/{}/events?fieldSelector={fields}&limit=500", escape(&namespace));
        match session.api.json(Call::get(path).most(MAX_PAGE)).await {
            Ok(list) => {
                readable = true;
                let names = list["items"].as_array().into_iter().flatten();
                let names = names.filter_map(|event| event["involvedObject"]["name"].as_str());
                waiting.extend(names.map(|name| (namespace.clone(), name.to_owned())));
            }
            Err(error) if error.is_forbidden() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(if readable { Known::Events(waiting) } else { Known::Unreadable })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_says_whether_its_claims_wait() {
        let class = |name: &str, mode: &str, default: &str, created: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": created,
                "annotations": {DEFAULT[0]: default}}, "volumeBindingMode": mode})
        };
        let list = json!({"items": [
            class("fast", "Immediate", "false", "2026-01-03T00:00:00Z"),
            class("old", "Immediate", "true", "2026-01-01T00:00:00Z"),
            class("late", WAITS, "true", "2026-01-02T00:00:00Z"),
            class("later", WAITS, "true", "2026-01-02T00:00:00Z"),
        ]});
        let known = Known::Classes(Classes::read(&list));
        let none = Known::Classes(Classes::read(&json!({"items": []})));
        let events = Known::Events(BTreeSet::from([("shop".to_owned(), "cache".to_owned())]));
        let claim = ObjectKey::new("", "PersistentVolumeClaim", "shop", "cache");
        let other = ObjectKey::new("", "PersistentVolumeClaim", "shop", "other");
        for (known, key, class, wanted, settled) in [
            (&known, &claim, Some("late"), "", true),
            // The newest default, then the first by name.
            (&known, &claim, None, "", true),
            (&known, &claim, Some("fast"), "not bound", true),
            (&known, &claim, Some("gone"), "storage class gone is not there", false),
            (&none, &claim, None, "no default one", false),
            (&events, &claim, Some("x"), "", true),
            (&events, &other, Some("x"), "not bound", false),
            (&Known::Nothing, &claim, None, "not bound", false),
            (&Known::Unreadable, &claim, None, "may list neither", false),
        ] {
            match known.verdict(key, class) {
                Verdict::Healthy => assert_eq!(wanted, "", "{known:?} {class:?}"),
                Verdict::Progressing(why) => {
                    assert!(!wanted.is_empty() && why.contains(wanted), "{known:?} {class:?}: {why}");
                }
                verdict => panic!("{verdict:?}"),
            }
            assert_eq!(known.settles(key, class), settled, "{known:?} {class:?}");
        }
        let Known::Classes(classes) = &known else { unreachable!() };
        assert_eq!(classes.default.as_deref(), Some("late"));
    }
}
