//! The objects of one cluster, with one version counter, and what happened to them lately.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::object::{Key, Object, Shared};

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, in milliseconds.
    pub at: i64,
    pub version: u64,
    pub resource: Arc<str>,
    /// None before it was made.
    pub old: Option<Arc<Object>>,
    /// None once it is gone.
    pub new: Option<Arc<Object>>,
}

/// What a version is too old for.
#[derive(Debug, PartialEq, Eq)]
pub struct Forgotten;

#[derive(Debug)]
pub struct Store {
    version: u64,
    objects: BTreeMap<Arc<str>, BTreeMap<Key, Arc<Object>>>,
    log: VecDeque<Event>,
    /// Up to here everything is forgotten.
    compacted: u64,
    /// The newest event of each kind that is forgotten.
    forgotten: BTreeMap<Arc<str>, u64>,
    limit: usize,
    shared: Arc<Shared>,
}

impl Store {
    pub fn new(limit: usize, shared: Arc<Shared>) -> Self {
        Self {
            version: 1,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: 0,
            forgotten: BTreeMap::new(),
            limit,
            shared,
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, resource: &str, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(resource)?.get(key)
    }

    /// All of a kind, in the order of their keys.
    pub fn all(&self, resource: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.get(resource).into_iter().flat_map(BTreeMap::values)
    }

    /// Writes an object, new or changed.
    pub fn put(&mut self, resource: &Arc<str>, value: Value, at: i64) -> Arc<Object> {
        self.version += 1;
        let new = Arc::new(Object::new(value, self.version, &self.shared));
        let all = self.objects.entry(Arc::clone(resource)).or_default();
        let old = all.insert(new.key.clone(), Arc::clone(&new));
        self.note(Event {
            at,
            version: self.version,
            resource: Arc::clone(resource),
            old,
            new: Some(Arc::clone(&new)),
        });
        new
    }

    /// Removes an object; returns it as of the version of its removal.
    pub fn remove(&mut self, resource: &Arc<str>, key: &Key, at: i64) -> Option<Arc<Object>> {
        let old = self.objects.get_mut(resource)?.remove(key)?;
        self.version += 1;
        let last = Arc::new(old.at(self.version));
        self.note(Event {
            at,
            version: self.version,
            resource: Arc::clone(resource),
            old: Some(old),
            new: None,
        });
        Some(last)
    }

    /// Counts a write that nobody sees.
    pub fn tick(&mut self) {
        self.version += 1;
    }

    fn note(&mut self, event: Event) {
        self.log.push_back(event);
        while self.log.len() > self.limit {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        if let Some(event) = self.log.pop_front() {
            self.forgotten.insert(event.resource, event.version);
        }
    }

    /// Forgets events from before a time, and says whether any are left.
    pub fn compact(&mut self, before: i64) -> bool {
        while self.log.front().is_some_and(|event| event.at < before) {
            self.forget_one();
        }
        if self.log.is_empty() {
            self.log = VecDeque::new();
        }
        !self.log.is_empty()
    }

    /// Forgets all events.
    pub fn forget(&mut self) {
        while !self.log.is_empty() {
            self.forget_one();
        }
        self.log = VecDeque::new();
        self.compacted = self.version;
    }

    pub fn has_events(&self) -> bool {
        !self.log.is_empty()
    }

    /// The oldest version of a kind from which what happened is still known.
    pub fn oldest(&self, resource: &str) -> u64 {
        self.forgotten.get(resource).copied().unwrap_or_default()
    }

    /// Whether someone who knows a version can still be told what happened since.
    pub fn knows(&self, resource: &str, version: u64) -> bool {
        version >= self.compacted && version >= self.oldest(resource)
    }

    /// What happened to a kind after a version.
    pub fn since<'a>(
        &'a self,
        resource: &'a str,
        version: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &'a Event>, Forgotten> {
        if version < self.oldest(resource) {
            return Err(Forgotten);
        }
        let from = self.log.partition_point(|event| event.version <= version);
        Ok(self.log.range(from..).filter(move |event| *event.resource == *resource))
    }

    /// All of a kind as of a version.
    pub fn all_at(&self, resource: &str, version: u64) -> Result<Vec<Arc<Object>>, Forgotten> {
        if !self.knows(resource, version) {
            return Err(Forgotten);
        }
        let mut objects = self.objects.get(resource).cloned().unwrap_or_default();
        for event in self.since(resource, version)?.rev() {
            match (&event.old, &event.new) {
                (Some(old), _) => drop(objects.insert(old.key.clone(), Arc::clone(old))),
                (None, Some(new)) => drop(objects.remove(&new.key)),
                (None, None) => {}
            }
        }
        Ok(objects.into_values().collect())
    }

    #[cfg(test)]
    pub fn events(&self) -> usize {
        self.log.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, value: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "a"}, "data": {"key": value}})
    }

    #[test]
    fn the_past_can_be_read_until_it_is_forgotten() {
        let resource: Arc<str> = "configmaps".into();
        let mut store = Store::new(3, Arc::default());
        let first = store.put(&resource, object("one", "a"), 0).version;
        store.put(&resource, object("one", "b"), 10);
        store.put(&resource, object("two", "a"), 20);
        let values = |store: &Store, version| {
            let all = store.all_at(&resource, version)?;
            Ok(all.iter().map(|o| o.value()["data"]["key"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(values(&store, first), Ok(vec![json!("a")]));
        assert_eq!(values(&store, first + 2), Ok(vec![json!("b"), json!("a")]));
        store.remove(&resource, &Key::new("a", "one"), 30);
        assert_eq!(store.events(), 3);
        assert_eq!(values(&store, first), Ok(vec![json!("a")]));
        assert!(store.compact(20));
        assert_eq!(values(&store, first), Err(Forgotten));
        assert!(store.knows("secrets", first) && !store.knows("configmaps", first));
        assert_eq!(store.since("configmaps", first + 1).map(Iterator::count), Ok(2));
        assert!(!store.compact(100));
        store.forget();
        assert!(!store.knows("secrets", first));
    }
}
