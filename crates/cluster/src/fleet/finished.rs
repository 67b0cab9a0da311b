//! Jobs that are done: one that completed and was removed by its time to live is not run again.
//!
//! That it completed is remembered in the ledger, for the digest that was applied. Who did not see the end of a Job
//! that has a time to live, and is gone (the daemon was away, or its watch), takes it for finished: what else removes
//! Jobs is rare, and work that ran twice is worse than work that a person has to start again.

use serde_json::Value;

use super::{Fleet, FleetEnd};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{Release, ReleaseObject};
use fairlead_core::plan;

pub fn is_job(key: &ObjectKey) -> bool {
    key.is("batch", "Job")
}

impl Fleet {
    /// Notes of a Job of the present release that it is done, if it is.
    pub(super) fn note_finished(&mut self, item: usize) {
        let Some(key) = self.run.as_ref().and_then(|run| run.items.get(item)).map(|i| i.action.key.clone())
        else {
            return;
        };
        if is_job(&key)
            && let Some(object) = self.run.as_ref().and_then(|run| run.object(item)).cloned()
        {
            self.note_job(&key, &object);
        }
    }

    /// Notes which Jobs of a release are done, before a plan is made.
    pub(super) fn note_jobs(&mut self, release: &Release) {
        let Some(discovery) = self.discovery.clone() else { return };
        let jobs = release.objects().map(|(_, object)| object).filter(|object| is_job(&object.key));
        for object in jobs.cloned().collect::<Vec<_>>() {
            let resource = discovery.find(&object.key.group_kind(), &object.version);
            if let Some(key) = resource.map(|resource| plan::resolve_key(&object.key, resource.scope)) {
                self.note_job(&key, &object);
            }
        }
    }

    /// Records at once that a Job with a time to live was applied: it may be gone before the result of the whole is
    /// written, and who starts then must not run it again. What can't be written is written with the result.
    pub(super) async fn record_job(&mut self, item: usize) -> Result<(), FleetEnd> {
        let object = self.run.as_ref().and_then(|run| run.object(item));
        if !self.dirty || !object.is_some_and(|object| is_job(&object.key) && lives_for_a_time(object)) {
            return Ok(());
        }
        let phase = self.phase;
        if !self.write_ledger().await? {
            self.phase = phase;
        }
        Ok(())
    }

    fn note_job(&mut self, key: &ObjectKey, object: &ReleaseObject) {
        let kind = key.group_kind();
        if self.eye.is_unread(&kind) || !self.eye.watches(&kind) {
            return;
        }
        let finished = match (self.eye.get(key), self.eye.ended(key)) {
            (Some(seen), _) => seen.object.digest == Some(object.digest) && seen.object.finished,
            (None, Some(finished)) => finished,
            (None, None) => lives_for_a_time(object),
        };
        let entry = self.stored.ledger.inventory.objects.get_mut(key);
        if let Some(entry) = entry.filter(|entry| finished && entry.applied == Some(object.digest))
            && !std::mem::replace(&mut entry.finished, true)
        {
            self.dirty = true;
        }
    }

    /// Whether an object of the present release is a Job that is done and gone.
    pub(super) fn is_finished(&self, key: &ObjectKey) -> bool {
        let entry = self.stored.ledger.inventory.objects.get(key).filter(|entry| entry.finished);
        let wanted = self.item(key).and_then(|item| Some(self.run.as_ref()?.object(item)?.digest));
        entry.is_some_and(|entry| entry.applied.is_some() && entry.applied == wanted)
    }
}

fn lives_for_a_time(job: &ReleaseObject) -> bool {
    let job: Value = serde_json::from_slice(&job.bytes).unwrap_or_default();
    job.pointer("/spec/ttlSecondsAfterFinished").is_some_and(Value::is_number)
}
