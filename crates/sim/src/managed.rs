//! Who owns which field: `metadata.managedFields`, as server-side apply and updates move it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fields::{FieldSet, display};
use super::typed::Typed;

/// Writers by update that are kept apart; older ones become one.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A writer, as its entry names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub applies: bool,
    /// Of an update: which version of the kind was written. Of an apply: empty.
    pub version: String,
    pub subresource: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    set: FieldSet,
    version: String,
    time: Option<String>,
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Managers(BTreeMap<Manager, Owned>);

/// One field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// With its operation, as the server prints it.
    pub manager: String,
    pub field: String,
}

/// Who writes, and what of the object this write can't touch.
pub struct Writer<'a> {
    pub typed: Typed<'a>,
    pub name: &'a str,
    pub version: &'a str,
    pub subresource: &'a str,
    /// Fields that the endpoint resets: `status` on the object itself, all else on `status`.
    pub reset: &'a FieldSet,
    pub now: &'a str,
}

impl Managers {
    /// None where an entry can't be read.
    pub fn read(object: &Value) -> Option<Self> {
        let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        let mut all = BTreeMap::new();
        for entry in list.into_iter().flatten() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            let applies = match entry["operation"].as_str() {
                Some("Apply") => true,
                Some("Update") => false,
                _ => return None,
            };
            if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
                return None;
            }
            let manager = Manager {
                name: text("manager"),
                applies,
                version: if applies { String::new() } else { text("apiVersion") },
                subresource: text("subresource"),
            };
            let owned = Owned {
                set: FieldSet::from_value(&entry["fieldsV1"]),
                version: text("apiVersion"),
                time: entry["time"].as_str().map(str::to_owned),
            };
            all.insert(manager, owned);
        }
        Some(Self(all))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the list in an object; None for nobody.
    pub fn to_value(&self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut entries: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| {
            (
                !manager.applies,
                owned.time.clone(),
                manager.name.clone(),
                owned.version.clone(),
                manager.subresource.clone(),
            )
        });
        let entries = entries.into_iter().map(|(manager, owned)| {
            let mut entry = json!({
                "manager": manager.name,
                "operation": if manager.applies { "Apply" } else { "Update" },
                "apiVersion": owned.version,
                "fieldsType": "FieldsV1",
                "fieldsV1": owned.set.to_value(),
            });
            if let Some(time) = &owned.time {
                entry["time"] = json!(time);
            }
            if !manager.subresource.is_empty() {
                entry["subresource"] = json!(manager.subresource);
            }
            entry
        });
        Some(Value::Array(entries.collect()))
    }

    /// Whether all is the same but for times.
    pub fn is_like(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(manager, owned)| {
                let theirs = other.0.get(manager);
                theirs.is_some_and(|theirs| theirs.set == owned.set && theirs.version == owned.version)
            })
    }

    /// Moves ownership for a write of `new` over `old`; both without managedFields.
    pub fn update(&mut self, writer: &Writer<'_>, old: &Value, new: &Value) {
        let changes = writer.typed.compare(old, new).without(writer.reset);
        let set = changes.set();
        for owned in self.0.values_mut() {
            owned.set = owned.set.difference(&set).difference(&changes.removed);
        }
        self.0.retain(|_, owned| !owned.set.is_empty());
        let mine = strip(&set.difference(&changes.removed));
        if !mine.is_empty() {
            let manager = Manager {
                name: name_or_unknown(writer.name),
                applies: false,
                version: writer.version.to_owned(),
                subresource: writer.subresource.to_owned(),
            };
            let before = self.0.remove(&manager).map(|owned| owned.set).unwrap_or_default();
            let (version, time) = (writer.version.to_owned(), Some(writer.now.to_owned()));
            self.0.insert(manager, Owned { set: mine.union(&before), version, time });
        }
        self.cap();
    }

    /// Applies `config` to `live`, both without managedFields; `empty` is what an object of the kind begins as. Returns the object; None if nothing in it changes.
    pub fn apply(
        &mut self,
        writer: &Writer<'_>,
        (empty, live): (&Value, &Value),
        config: &Value,
        force: bool,
    ) -> Result<Option<Value>, Vec<Conflict>> {
        let typed = writer.typed;
        if self.0.is_empty() && live.pointer("/metadata/uid").is_some() {
            let before = Writer { name: BEFORE_FIRST_APPLY, subresource: "", ..*writer };
            self.update(&before, empty, live);
        }
        let manager = Manager {
            name: name_or_unknown(writer.name),
            applies: true,
            version: String::new(),
            subresource: writer.subresource.to_owned(),
        };
        let merged = typed.merge(live, config);
        let last = self.0.remove(&manager);
        let set = typed.fields(config).without(writer.reset);
        let owned = Owned {
            set,
            version: writer.version.to_owned(),
            time: last.as_ref().and_then(|last| last.time.clone()),
        };
        self.0.insert(manager.clone(), owned);
        let new = match last {
            Some(last) => self.prune(typed, merged, &last.set),
            None => merged,
        };
        let changes = typed.compare(live, &new).without(writer.reset);
        let set = changes.set();
        let mut conflicts = Vec::new();
        for (other, owned) in self.0.iter().filter(|(other, _)| **other != manager) {
            for path in owned.set.intersection(&set).paths() {
                conflicts.push(Conflict { manager: print(other, owned), field: display(&path) });
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for (other, owned) in &mut self.0 {
            if *other != manager {
                owned.set = owned.set.difference(&set).difference(&changes.removed);
            }
        }
        let is_changed = *live != new;
        if let Some(owned) = self.0.get_mut(&manager) {
            owned.set = strip(&owned.set);
            if is_changed {
                owned.time = Some(writer.now.to_owned());
            }
        }
        self.0.retain(|_, owned| !owned.set.is_empty());
        Ok(is_changed.then_some(new))
    }

    /// Removes what this manager applied last time and does not any more, unless someone else owns it too.
    fn prune(&self, typed: Typed<'_>, merged: Value, last: &FieldSet) -> Value {
        let pruned = typed.remove(&merged, &typed.with_parents(last));
        let managed = self.0.values().fold(FieldSet::default(), |all, owned| all.union(&owned.set));
        let all = typed.with_parents(&typed.fields(&merged));
        let left = typed.with_parents(&typed.fields(&pruned));
        let gone = all.difference(&left.union(&typed.with_parents(&managed)));
        let pruned = typed.remove(&merged, &gone);
        // What was never this manager's stays, though what held it went.
        let left = typed.with_parents(&typed.fields(&pruned));
        let gone = all.difference(&left).intersection(&typed.with_parents(last));
        if gone.is_empty() { merged } else { typed.remove(&merged, &gone) }
    }

    fn cap(&mut self) {
        let mut updaters: Vec<Manager> = self.0.keys().filter(|manager| !manager.applies).cloned().collect();
        if updaters.len() <= MAX_UPDATERS {
            return;
        }
        updaters.sort_by_key(|manager| {
            (self.0.get(manager).and_then(|owned| owned.time.clone()), manager.clone())
        });
        let mut left = updaters.len();
        let mut first: BTreeMap<String, Manager> = BTreeMap::new();
        for manager in updaters {
            if left <= MAX_UPDATERS {
                break;
            }
            let version = manager.version.clone();
            let Some(oldest) = first.get(&version) else {
                first.insert(version, manager);
                continue;
            };
            let bucket = Manager {
                name: ANCIENT.to_owned(),
                applies: false,
                version: version.clone(),
                subresource: String::new(),
            };
            let base = self.0.remove(&bucket).or_else(|| self.0.remove(oldest));
            if let (Some(base), Some(newer)) = (base, self.0.remove(&manager)) {
                let set = base.set.union(&newer.set);
                self.0.insert(bucket, Owned { set, version, time: newer.time });
                left -= 1;
            }
        }
    }
}

fn name_or_unknown(name: &str) -> String {
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// Without what nobody owns.
fn strip(set: &FieldSet) -> FieldSet {
    const NAMES: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut nobody = FieldSet::default();
    for path in [["apiVersion"], ["kind"], ["metadata"]] {
        nobody.insert_fields(&path);
    }
    for name in NAMES {
        nobody.insert_fields(&["metadata", name]);
    }
    set.difference(&nobody)
}

/// A manager as conflicts name it.
fn print(manager: &Manager, owned: &Owned) -> String {
    let mut text = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", manager.subresource));
    }
    if !manager.applies {
        text.push_str(&format!(" using {}", owned.version));
    }
    text
}

/// The server's words for conflicts.
pub fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let mut lines = Vec::new();
    for (manager, fields) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(fields.iter().map(|field| format!("- {field}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Takes the list out of an object.
pub fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|map: &mut Map<String, Value>| map.remove("managedFields"))
}
