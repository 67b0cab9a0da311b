//! Taking an object over in full: what the managers before us own becomes ours, in `metadata.managedFields`.
//!
//! Without that, a field that an old manager had set to the value that Git gives it has two owners, and stays in the
//! cluster when Git drops it. As kubectl's own upgrade to server-side apply does (`csaupgrade` in client-go), the
//! old manager's entry is merged into ours. Pure.

use serde_json::{Map, Value, json};

use super::fields::{our_entry, owners};
use fairlead_core::model::field_path;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::plan::Stay;

type Set = Map<String, Value>;

/// How much of an old manager's entry becomes ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: what Git does not have goes with the next apply.
    All,
    /// The fields that Git has. The others stay where they are, with their owner.
    Shared,
}

impl Extent {
    /// Of some kinds a field that was set once, be it by a default, can't be taken out again.
    pub fn of(key: &ObjectKey) -> Self {
        let sealed = ["PersistentVolumeClaim", "PersistentVolume", "Pod"];
        if sealed.iter().any(|kind| key.is("", kind)) { Self::Shared } else { Self::All }
    }
}

/// What others need to let go of an object, and to find what it belongs to; never taken from them.
const THEIRS: [&str; 2] = ["f:finalizers", "f:ownerReferences"];

/// The managed fields of `live` after `manager` took over from every manager that sets a field of `body`, which is
/// what will be applied. None: there is no such manager. Subresources, and what was set through another version of
/// the kind, are left alone.
pub fn take_over(live: &Value, manager: &str, body: &Value, extent: Extent) -> Option<Vec<Value>> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let mut ours = our_entry(live, manager).cloned().unwrap_or_else(|| {
        let entry = json!({"manager": manager, "operation": "Apply", "apiVersion": body["apiVersion"],
            "fieldsType": "FieldsV1", "fieldsV1": {}});
        entry.as_object().cloned().unwrap_or_default()
    });
    let mut set = ours.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut rest, mut taken) = (Vec::new(), false);
    for entry in entries {
        if entry["manager"] == manager && entry["operation"] == "Apply" && entry["subresource"].is_null() {
            continue;
        }
        let theirs = entry["fieldsV1"].as_object().filter(|_| {
            entry["apiVersion"] == body["apiVersion"]
                && entry["subresource"].as_str().is_none_or(str::is_empty)
        });
        let Some(theirs) = theirs.filter(|theirs| overlaps(theirs, body)) else {
            rest.push(entry.clone());
            continue;
        };
        taken = true;
        let (moved, left) = match extent {
            Extent::All => without_theirs(theirs),
            Extent::Shared => split(theirs, body),
        };
        merge(&mut set, moved);
        if !left.is_empty() {
            let mut entry = entry.clone();
            entry["fieldsV1"] = Value::Object(left);
            rest.push(entry);
        }
        if let Some(time) = entry.get("time") {
            ours.insert("time".to_owned(), time.clone());
        }
    }
    ours.insert("fieldsV1".to_owned(), Value::Object(set));
    rest.push(Value::Object(ours));
    taken.then_some(rest)
}

/// The value of `body` that a path element stands for.
fn child<'a>(body: &'a Value, element: &str) -> Option<&'a Value> {
    field_path::child(body, field_path::token_of(element))
}

/// Whether a field of the set has a value in `body`. That a map or a list is there (`.`) is nobody's field.
fn overlaps(set: &Set, body: &Value) -> bool {
    set.iter().any(|(element, below)| match (child(body, element), below.as_object()) {
        (Some(value), Some(below)) => below.is_empty() || overlaps(below, value),
        _ => false,
    })
}

/// What has a value in `body`, and what has not.
fn split(set: &Set, body: &Value) -> (Set, Set) {
    let (mut moved, mut left) = (Set::new(), Set::new());
    for (element, below) in set.iter().filter(|(element, _)| *element != ".") {
        let Some(value) = child(body, element) else {
            left.insert(element.clone(), below.clone());
            continue;
        };
        let empty = Set::new();
        let below = below.as_object().unwrap_or(&empty);
        if below.is_empty() {
            moved.insert(element.clone(), json!({}));
            continue;
        }
        let (inner_moved, inner_left) = split(below, value);
        for (part, whole) in [(inner_moved, &mut moved), (inner_left, &mut left)] {
            if !part.is_empty() {
                whole.insert(element.clone(), Value::Object(part));
            }
        }
    }
    // Who owns an item of a map or a list also owns that it is there.
    for part in [&mut moved, &mut left] {
        if set.contains_key(".") && !part.is_empty() {
            part.insert(".".to_owned(), json!({}));
        }
    }
    (moved, left)
}

fn without_theirs(set: &Set) -> (Set, Set) {
    let (mut moved, mut left) = (set.clone(), Set::new());
    if let Some(metadata) = moved.get_mut("f:metadata").and_then(Value::as_object_mut) {
        let kept: Set = THEIRS.iter().filter_map(|name| metadata.remove_entry(*name)).collect();
        if !kept.is_empty() {
            left.insert("f:metadata".to_owned(), Value::Object(kept));
        }
    }
    (moved, left)
}

/// What becomes of fields that Git drops and that others own too.
#[derive(Debug, Default, PartialEq)]
pub struct LetGo {
    /// All managed fields, without what people own of these; None: nobody has to let go.
    pub entries: Option<Vec<Value>>,
    /// Paths of what the others keep.
    pub stays: Vec<String>,
}

/// Finds out which fields of ours `manifest`, what Git has now, drops and others own as well.
///
/// People, whose tools write once and claim nothing, let go: kubectl in all its ways, and whoever else updated the
/// object. Who applies it, and controllers, keep what they own, for they mean it.
pub fn let_go(live: &Value, manager: &str, manifest: &Value) -> LetGo {
    let all = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let entries: Vec<&Value> = all.into_iter().flatten().collect();
    let Some(ours) = our_entry(live, manager) else { return LetGo::default() };
    let Some(our_set) = ours.get("fieldsV1").and_then(Value::as_object) else { return LetGo::default() };
    let (mut rest, mut stays, mut taken) = (Vec::new(), Vec::new(), false);
    for entry in &entries {
        let is_ours = entry.as_object() == Some(ours);
        let same = entry["apiVersion"] == ours["apiVersion"] && subresource(entry).is_empty();
        let theirs = entry["fieldsV1"].as_object().filter(|_| same && !is_ours);
        let dropped = theirs.map(|theirs| dropped(theirs, our_set, Some(manifest))).unwrap_or_default();
        if dropped.is_empty() {
            rest.push((*entry).clone());
        } else if is_person(entry, &entries) {
            taken = true;
            let left = theirs.map(|theirs| minus(theirs, &dropped)).unwrap_or_default();
            if !left.is_empty() {
                let mut entry = (*entry).clone();
                entry["fieldsV1"] = Value::Object(left);
                rest.push(entry);
            }
        } else {
            rest.push((*entry).clone());
            leaves(&dropped, "", &mut stays);
        }
    }
    stays.sort_unstable();
    stays.dedup();
    LetGo { entries: taken.then_some(rest), stays }
}

/// Of fields that stayed, those that are still there after an apply of `body`, and who owns them.
pub fn still_there(paths: Vec<String>, live: &Value, manager: &str, body: &Value) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for path in paths {
        let tokens = field_path::tokens(&path).unwrap_or_default();
        let in_git = tokens.iter().try_fold(body, |value, token| field_path::child(value, token));
        let managers = owners(live, manager, &path);
        if in_git.is_none_or(Value::is_null)
            && !managers.is_empty()
            && stays.iter().all(|stay| stay.path != path)
        {
            stays.push(Stay { path, managers });
        }
    }
    stays
}

fn subresource(entry: &Value) -> &str {
    entry["subresource"].as_str().unwrap_or_default()
}

/// Parts of the names of controllers, and of tools that keep what they once wrote so.
const MACHINES: [&str; 24] = [
    "controller",
    "operator",
    "autoscaler",
    "injector",
    "webhook",
    "scheduler",
    "kubelet",
    "kube-",
    "cloud-",
    "agent",
    "manager",
    "daemon",
    "helm",
    "argocd",
    "flux",
    "terraform",
    "hashicorp",
    "pulumi",
    "ansible",
    "kapp",
    "kluctl",
    "fleet",
    "pilot-discovery",
    "vpa-",
];

/// Whether an entry is that of a person, by the name of the tool.
fn is_person(entry: &Value, all: &[&Value]) -> bool {
    let name = entry["manager"].as_str().unwrap_or_default();
    if name == "kubectl" || name.starts_with("kubectl-") || name == "before-first-apply" {
        return true;
    }
    let lower = name.to_lowercase();
    // Who writes a status, or scales, is a controller.
    let controls = all.iter().any(|other| other["manager"] == name && !subresource(other).is_empty());
    entry["operation"] == "Update" && !controls && !MACHINES.iter().any(|part| lower.contains(part))
}

/// What of `theirs` is ours as well, and not in `manifest` any more (None: all that holds it is not).
fn dropped(theirs: &Set, ours: &Set, manifest: Option<&Value>) -> Set {
    let mut found = Set::new();
    for (element, below) in theirs {
        let (Some(our_below), Some(below)) =
            (ours.get(element).and_then(Value::as_object), below.as_object())
        else {
            continue;
        };
        if element == "." {
            if manifest.is_none() {
                found.insert(element.clone(), json!({}));
            }
            continue;
        }
        let has = manifest.and_then(|value| child(value, element)).filter(|value| !value.is_null());
        if below.is_empty() || our_below.is_empty() {
            if has.is_none() && below.is_empty() && our_below.is_empty() {
                found.insert(element.clone(), json!({}));
            }
            continue;
        }
        let inner = dropped(below, our_below, has);
        if !inner.is_empty() {
            found.insert(element.clone(), Value::Object(inner));
        }
    }
    found
}

fn minus(set: &Set, gone: &Set) -> Set {
    let mut left = Set::new();
    for (element, below) in set {
        match (gone.get(element).and_then(Value::as_object), below.as_object()) {
            (None, _) => {
                left.insert(element.clone(), below.clone());
            }
            (Some(gone), Some(below)) if !gone.is_empty() => {
                let inner = minus(below, gone);
                if !inner.is_empty() {
                    left.insert(element.clone(), Value::Object(inner));
                }
            }
            _ => {}
        }
    }
    left
}

/// The paths of the fields of a set; of an item that goes as a whole, the item's own.
fn leaves(set: &Set, path: &str, found: &mut Vec<String>) {
    for (element, below) in set.iter().filter(|(element, _)| *element != ".") {
        let path = format!("{path}/{}", field_path::escape(field_path::token_of(element)));
        match below.as_object().filter(|below| !below.is_empty() && !below.contains_key(".")) {
            Some(below) => leaves(below, &path, found),
            None => found.push(path),
        }
    }
}

fn merge(into: &mut Set, from: Set) {
    for (element, below) in from {
        match (into.get_mut(&element).and_then(Value::as_object_mut), below) {
            (Some(known), Value::Object(below)) => merge(known, below),
            (_, below) => {
                into.insert(element, below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-01T00:00:00Z", "fieldsV1": fields})
    }

    fn body() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}}})
    }

    fn of<'a>(entries: &'a [Value], manager: &str) -> Option<&'a Value> {
        entries.iter().find(|entry| entry["manager"] == manager).map(|entry| &entry["fieldsV1"])
    }

    #[test]
    fn whoever_sets_a_field_of_ours_is_followed_in_full() {
        let container = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"main\"}": {".": {}, "f:image": {}, "f:env": {}}}}}}});
        let object = live(json!([
            entry("kubectl", "Update", container.clone()),
            entry("label-bot", "Update", json!({"f:metadata": {"f:annotations": {".": {}, "f:cost": {}}}})),
            {"manager": "hpa", "operation": "Update", "apiVersion": "apps/v1", "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            entry("fairlead", "Apply", json!({"f:metadata": {"f:labels": {"f:a": {}}}})),
        ]));
        let entries = take_over(&object, "fairlead", &body(), Extent::All).unwrap();
        assert_eq!(of(&entries, "kubectl"), None);
        assert!(of(&entries, "label-bot").is_some() && of(&entries, "hpa").is_some());
        let mut all = container;
        all["f:metadata"] = json!({"f:labels": {"f:a": {}}});
        assert_eq!(of(&entries, "fairlead"), Some(&all));
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn the_first_take_over_makes_an_entry_and_leaves_finalizers_to_their_owner() {
        let fields =
            json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}, "f:labels": {"f:a": {}}}});
        let object = live(json!([entry("operator", "Apply", fields)]));
        let entries = take_over(&object, "fairlead", &body(), Extent::All).unwrap();
        let left = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"x\"": {}}}});
        assert_eq!(of(&entries, "operator"), Some(&left));
        let ours = entries.iter().find(|entry| entry["manager"] == "fairlead").unwrap();
        assert_eq!(ours["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
        assert_eq!((&ours["operation"], &ours["apiVersion"]), (&json!("Apply"), &json!("apps/v1")));
    }

    #[test]
    fn what_is_shared_alone_can_be_taken() {
        let fields = json!({"f:spec": {".": {}, "f:replicas": {}, "f:paused": {}}});
        let object = live(json!([entry("kubectl", "Update", fields)]));
        let entries = take_over(&object, "fairlead", &body(), Extent::Shared).unwrap();
        assert_eq!(of(&entries, "kubectl"), Some(&json!({"f:spec": {".": {}, "f:paused": {}}})));
        assert_eq!(of(&entries, "fairlead"), Some(&json!({"f:spec": {".": {}, "f:replicas": {}}})));
    }

    #[test]
    fn nobody_is_followed_who_shares_nothing() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}}}, "f:spec": {"f:paused": {}}});
        let mut old = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        old["apiVersion"] = json!("extensions/v1beta1");
        let object = live(json!([entry("bot", "Update", fields), old]));
        assert_eq!(take_over(&object, "fairlead", &body(), Extent::All), None);
        assert_eq!(take_over(&json!({}), "fairlead", &body(), Extent::All), None);
    }

    fn dropped_by(manifest: Value, entries: Value) -> LetGo {
        let mut all = vec![entry(
            "fairlead",
            "Apply",
            json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:data": {"f:color": {}, "f:size": {}},
            "f:list": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:v": {}}}}),
        )];
        all.extend(entries.as_array().unwrap().clone());
        let mut manifest = manifest;
        manifest["metadata"] = json!({"labels": {"a": "b"}});
        let_go(&live(json!(all)), "fairlead", &manifest)
    }

    #[test]
    fn what_git_drops_is_taken_out_of_the_entries_of_people() {
        let theirs = json!({"f:data": {".": {}, "f:size": {}, "f:other": {}}});
        for (manager, operation, goes) in [
            ("kubectl-client-side-apply", "Update", true),
            ("kubectl-edit", "Update", true),
            ("kubectl", "Apply", true),
            ("before-first-apply", "Update", true),
            ("someone", "Update", true),
            ("curl", "Update", true),
            ("someone", "Apply", false),
            ("helm", "Update", false),
            ("argocd-controller", "Apply", false),
            ("kube-controller-manager", "Update", false),
            ("cert-manager-cainjector", "Update", false),
            ("manager", "Update", false),
        ] {
            let found = dropped_by(
                json!({"data": {"color": "blue"}}),
                json!([entry(manager, operation, theirs.clone())]),
            );
            let left = found.entries.as_deref().and_then(|entries| of(entries, manager).cloned());
            if goes {
                assert_eq!(left, Some(json!({"f:data": {".": {}, "f:other": {}}})), "{manager}");
                assert!(found.stays.is_empty(), "{manager}");
            } else {
                assert_eq!((found.entries, found.stays), (None, vec!["/data/size".to_owned()]), "{manager}");
            }
        }
    }

    #[test]
    fn nothing_is_taken_that_git_has_or_that_is_theirs_alone() {
        let theirs = json!([entry(
            "kubectl-edit",
            "Update",
            json!({"f:data": {".": {}, "f:size": {}, "f:other": {}}})
        )]);
        assert_eq!(dropped_by(json!({"data": {"size": "9"}}), theirs), LetGo::default());
        let other = json!([entry("kubectl-edit", "Update", json!({"f:data": {".": {}, "f:other": {}}}))]);
        assert_eq!(dropped_by(json!({}), other), LetGo::default());
        let mut status = entry("someone", "Update", json!({"f:data": {"f:size": {}}}));
        status["subresource"] = json!("status");
        let both = json!([status, entry("someone", "Update", json!({"f:data": {"f:size": {}}}))]);
        assert_eq!(dropped_by(json!({}), both).stays, ["/data/size"], "who writes a status is a controller");
    }

    #[test]
    fn an_item_that_git_drops_goes_as_a_whole_unless_more_of_it_is_theirs() {
        let item = |more: Value| {
            let mut fields = json!({".": {}, "f:name": {}, "f:v": {}});
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([entry("kubectl", "Apply", json!({"f:list": {"k:{\"name\":\"x\"}": fields}}))])
        };
        let gone = dropped_by(json!({"data": {"color": "", "size": ""}, "list": []}), item(json!({})));
        assert_eq!(of(&gone.entries.unwrap(), "kubectl"), None);
        let kept = dropped_by(json!({"data": {"color": "", "size": ""}}), item(json!({"f:more": {}})));
        assert_eq!(
            of(&kept.entries.unwrap(), "kubectl"),
            Some(&json!({"f:list": {"k:{\"name\":\"x\"}": {"f:more": {}}}}))
        );
    }

    #[test]
    fn what_stays_is_said_as_long_as_others_own_it() {
        let entries = json!([
            entry("helm", "Update", json!({"f:data": {"f:size": {}}})),
            entry("fairlead", "Apply", json!({}))
        ]);
        let still = |body: Value, entries: &Value| {
            still_there(
                vec!["/data/size".into(), "/data/size".into(), "/data/gone".into()],
                &live(entries.clone()),
                "fairlead",
                &body,
            )
        };
        let stays = still(json!({"data": {}}), &entries);
        assert_eq!(stays, [Stay { path: "/data/size".into(), managers: vec!["helm".into()] }]);
        assert_eq!(
            stays[0].to_string(),
            "the field .data.size stays though Git dropped it, because helm owns it too"
        );
        assert!(still(json!({"data": {"size": "1"}}), &entries).is_empty(), "Git has it again");
        assert!(still(json!({}), &json!([])).is_empty());
    }
}
