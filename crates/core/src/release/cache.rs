//! Rendered layers by what they are rendered from.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::digest::{InputDigest, ReleaseDigest};
use crate::model::release::{ReleaseObject, RenderedLayer};

use super::expression::References;
use super::template::Templates;

/// Where layers outlive the process. What it can't give back whole it does not give back.
pub trait LayerStore: Send + Sync {
    /// The layer that these inputs gave.
    fn layer(&self, inputs: &InputDigest) -> Option<RenderedLayer>;
    fn keep_layer(&self, inputs: &InputDigest, layer: &RenderedLayer);
    /// What the files of this digest refer to.
    fn references(&self, files: &InputDigest) -> Option<References>;
    fn keep_references(&self, files: &InputDigest, references: &References);
}

/// What a layer's files give: templates, with what is wrong with them.
pub(super) type Read = Arc<Templates>;

/// Templates and rendered layers in memory, least recently used ones dropped; behind them, if given, a store.
///
/// Guarantees: while anyone holds a layer, equal inputs give that same `Arc`. Shared between threads.
pub struct LayerCache {
    templates: Mutex<Recent<InputDigest, Read>>,
    /// Files without expressions: a layer of which one file changed reads just that one.
    plain: Mutex<Recent<InputDigest, Arc<[ReleaseObject]>>>,
    references: Mutex<Recent<InputDigest, Arc<References>>>,
    layers: Mutex<Recent<InputDigest, Arc<RenderedLayer>>>,
    /// Releases whose objects were compared: targets with equal layers need that once.
    compared: Mutex<Recent<ReleaseDigest, ()>>,
    store: Option<Box<dyn LayerStore>>,
}

/// How many releases are remembered as compared.
const COMPARED: usize = 10_000;
/// Bytes of memory for files that are read and not yet rendered: one large profile, and room.
const TEMPLATES: usize = 24 << 20;
/// Bytes of memory for files without expressions. Templates and layers share their objects' bytes.
const PLAIN: usize = 24 << 20;
/// Bytes of memory for rendered layers beyond those that are in use.
const LAYERS: usize = 48 << 20;
/// Bytes of memory for references.
const REFERENCES: usize = 4 << 20;

impl Default for LayerCache {
    fn default() -> Self {
        Self::new(None)
    }
}

impl LayerCache {
    pub fn new(store: Option<Box<dyn LayerStore>>) -> Self {
        Self {
            templates: Mutex::new(Recent::new(TEMPLATES)),
            plain: Mutex::new(Recent::new(PLAIN)),
            references: Mutex::new(Recent::new(REFERENCES)),
            layers: Mutex::new(Recent::new(LAYERS)),
            compared: Mutex::new(Recent::new(COMPARED)),
            store,
        }
    }

    pub(super) fn is_compared(&self, release: &ReleaseDigest) -> bool {
        lock(&self.compared).get(release).is_some()
    }

    pub(super) fn keep_compared(&self, release: &ReleaseDigest) {
        lock(&self.compared).put(*release, (), 1, |()| true);
    }

    pub(super) fn templates(&self, files: &InputDigest) -> Option<Read> {
        lock(&self.templates).get(files)
    }

    /// Content that is wrong is remembered too, or a fleet would read it once for each target.
    pub(super) fn keep_templates(&self, files: &InputDigest, templates: &Read) {
        // What is the same for all targets is rendered once, and its files are known one by one.
        let wrong = !templates.errors.is_empty();
        if wrong || !templates.is_plain() {
            let weight = templates.weight + templates.errors.len() * 500;
            lock(&self.templates).put(*files, templates.clone(), weight, |_| true);
        }
        if !wrong {
            self.remember(files, &Arc::new(templates.references.clone()));
            if let Some(store) = &self.store {
                store.keep_references(files, &templates.references);
            }
        }
    }

    pub(super) fn plain_file(&self, inputs: &InputDigest) -> Option<Arc<[ReleaseObject]>> {
        lock(&self.plain).get(inputs)
    }

    pub(super) fn keep_plain_file(&self, inputs: &InputDigest, objects: Arc<[ReleaseObject]>) {
        let weight = objects.iter().map(|object| object.bytes.len() + 300).sum::<usize>() + 100;
        lock(&self.plain).put(*inputs, objects, weight, |_| true);
    }

    fn remember(&self, files: &InputDigest, references: &Arc<References>) {
        let names = references.variables.iter().chain(&references.labels);
        let weight = names.map(|name| name.len() + 60).sum::<usize>() + 200;
        lock(&self.references).put(*files, references.clone(), weight, |_| true);
    }

    pub(super) fn references(&self, files: &InputDigest) -> Option<Arc<References>> {
        if let Some(references) = lock(&self.references).get(files) {
            return Some(references);
        }
        let references = Arc::new(self.store.as_ref()?.references(files)?);
        self.remember(files, &references);
        Some(references)
    }

    pub(super) fn layer(&self, inputs: &InputDigest) -> Option<Arc<RenderedLayer>> {
        if let Some(layer) = lock(&self.layers).get(inputs) {
            return Some(layer);
        }
        let layer = self.store.as_ref()?.layer(inputs)?;
        Some(self.share(inputs, layer))
    }

    pub(super) fn keep_layer(&self, inputs: &InputDigest, layer: RenderedLayer) -> Arc<RenderedLayer> {
        if let Some(store) = &self.store {
            store.keep_layer(inputs, &layer);
        }
        self.share(inputs, layer)
    }

    /// The layer of another thread, if that was faster.
    fn share(&self, inputs: &InputDigest, layer: RenderedLayer) -> Arc<RenderedLayer> {
        let mut layers = lock(&self.layers);
        if let Some(first) = layers.get(inputs) {
            return first;
        }
        let layer = Arc::new(layer);
        let weight = layer.objects.iter().map(|object| object.bytes.len() + 300).sum();
        layers.put(*inputs, layer.clone(), weight, |layer| Arc::strong_count(layer) == 1);
        layer
    }
}

/// A panic in another thread leaves a map that is whole: every change is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map that drops what was not used for longest when it grows beyond its limit.
struct Recent<K, V> {
    entries: HashMap<K, Used<V>>,
    clock: u64,
    weight: usize,
    limit: usize,
}

struct Used<V> {
    value: V,
    weight: usize,
    last: u64,
}

impl<K: Hash + Eq + Copy, V: Clone> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), clock: 0, weight: 0, limit }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.last = self.clock;
        Some(entry.value.clone())
    }

    /// `unused` says whether a value may be dropped.
    fn put(&mut self, key: K, value: V, weight: usize, unused: impl Fn(&V) -> bool) {
        self.clock += 1;
        if let Some(old) = self.entries.insert(key, Used { value, weight, last: self.clock }) {
            self.weight -= old.weight;
        }
        self.weight += weight;
        if self.weight > self.limit {
            self.shrink(&key, unused);
        }
    }

    /// Down to three quarters, so that a full cache does not shrink at each insert. What stays in use may
    /// keep it above that: then the limit moves up with it.
    fn shrink(&mut self, keep: &K, unused: impl Fn(&V) -> bool) {
        let candidates = self.entries.iter().filter(|(key, entry)| *key != keep && unused(&entry.value));
        let mut candidates: Vec<_> = candidates.map(|(key, entry)| (entry.last, *key)).collect();
        candidates.sort_unstable_by_key(|(last, _)| *last);
        for (_, key) in candidates {
            if self.weight <= self.limit / 4 * 3 {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.weight -= entry.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_dropped_and_what_is_in_use_stays() {
        let mut recent = Recent::new(100);
        let held = Arc::new(0);
        let free = |value: &Arc<i32>| Arc::strong_count(value) == 1;
        recent.put(0, held.clone(), 30, free);
        for key in 1..=3 {
            recent.put(key, Arc::new(key), 20, free);
        }
        assert!(recent.get(&1).is_some());
        recent.put(4, Arc::new(4), 20, free);
        let kept: Vec<bool> = (0..5).map(|key| recent.get(&key).is_some()).collect();
        assert_eq!((kept, recent.weight), (vec![true, true, false, false, true], 70));
        assert_eq!(Arc::strong_count(&held), 2);
    }
}
