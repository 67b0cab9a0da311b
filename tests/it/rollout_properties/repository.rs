//! The repository of the model: what each target should run, commit by commit.

use std::collections::BTreeMap;

use fairlead_core::model::digest::{CommitId, InputDigest, ReleaseDigest};
use fairlead_core::model::labels::Labels;
use fairlead_core::model::name::TargetName;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::model::schedule::TimeZoneName;
use fairlead_core::rollout::{Event, Intent, TargetIntent};

use super::model::Model;
use super::setting::{Edit, ring};

#[derive(Clone, Default, PartialEq)]
pub struct Doc {
    pub content: u32,
    pub suspend: bool,
    pub pin: Option<u32>,
    pub broken: bool,
}

fn labels(target: &TargetName) -> Labels {
    let number = target.as_str().trim_start_matches("edge-").parse().unwrap();
    [("ring".to_owned(), ring(number))].into()
}

/// Half an hour off, so that minutes differ.
pub fn zone(target: &TargetName) -> Option<TimeZoneName> {
    let odd = matches!(target.as_str().as_bytes().last(), Some(b'1' | b'3' | b'5' | b'7'));
    odd.then(|| "Asia/Kolkata".parse().unwrap())
}

pub fn name(number: usize) -> TargetName {
    format!("edge-{number}").parse().unwrap()
}

pub fn commit_id(number: u32) -> CommitId {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    CommitId::from_bytes(bytes)
}

impl Model {
    pub(super) fn target(&self, number: usize) -> Option<TargetName> {
        self.docs.keys().nth(number % self.docs.len().max(1)).cloned()
    }

    pub(super) fn commit(&mut self, changed: u8, edit: &Edit) {
        self.commit += 1;
        self.unknown = false;
        let commit = self.commit;
        let before = self.docs.clone();
        for (_, doc) in
            self.docs.iter_mut().enumerate().filter(|(n, _)| changed & (1 << n) != 0).map(|(n, d)| (n, d.1))
        {
            doc.content = commit;
        }
        match edit {
            Edit::Nothing => {}
            Edit::GoBack => self.docs = std::mem::take(&mut self.olden),
            Edit::Add(n) => {
                self.docs.entry(name(*n)).or_insert(Doc { content: commit, ..Doc::default() });
            }
            Edit::Remove(n) | Edit::Unknown(n) => {
                self.unknown = matches!(edit, Edit::Unknown(_));
                if let Some(target) = self.target(*n) {
                    self.docs.remove(&target);
                }
            }
            Edit::Suspend(n) | Edit::Pin(n) | Edit::Break(n) => {
                if let Some(doc) = self.target(*n).and_then(|target| self.docs.get_mut(&target)) {
                    match edit {
                        Edit::Suspend(_) => doc.suspend = !doc.suspend,
                        Edit::Pin(_) if doc.pin.is_none() => doc.pin = Some(commit / 2),
                        Edit::Pin(_) => doc.pin = None,
                        _ => doc.broken = !doc.broken,
                    }
                }
            }
        }
        self.olden = before;
        self.failures = 0;
        self.observe();
    }

    pub(super) fn observe(&mut self) {
        let profiles = [("shop".parse().unwrap(), Revision::control(commit_id(self.commit)))].into();
        let revisions = Revisions { control: Revision::control(commit_id(self.commit)), profiles };
        let (mut targets, mut wants) = (BTreeMap::new(), BTreeMap::new());
        for (name, doc) in &self.docs {
            let content = doc.pin.unwrap_or(doc.content);
            let digest = ReleaseDigest::of([name.as_str().as_bytes(), &content.to_be_bytes()]);
            let release = ReleaseRef { digest, revisions: revisions.clone() };
            let mut intent = TargetIntent::new(release.clone());
            intent.entry = self.state.entry_revisions(name).map(|_| Ok(release));
            (intent.suspend, intent.pinned) = (doc.suspend, doc.pin.is_some());
            (intent.labels, intent.unmet) = (labels(name), self.unmet.get(name).cloned());
            intent.time_zone = zone(name);
            if doc.broken {
                intent.release = Err("broken".into());
            } else {
                wants.insert(name.clone(), digest);
            }
            targets.insert(name.clone(), intent);
        }
        self.intent = wants;
        let (renderers, policy, unknown) = (InputDigest::of([]), self.setting.policy(), self.unknown);
        let intent = Intent { revisions, renderers, policy, targets, unknown };
        self.step(Event::CommitObserved(Box::new(intent)));
    }
}
