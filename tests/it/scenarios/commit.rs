//! The repository of the little world: `commit c2 "web v2" changes edge-001 edge-002 removes edge-003`.

use std::collections::BTreeMap;

use fairlead_core::catalog::read_single;
use fairlead_core::model::digest::{CommitId, InputDigest, ReleaseDigest};
use fairlead_core::model::fleet::{Offline, OnFailure, OnRemoval, Wave, Window};
use fairlead_core::model::labels::Labels;
use fairlead_core::model::name::{FleetName, TargetName};
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::model::units::{Amount, Span};
use fairlead_core::rollout::{FleetPolicy, FleetState, Intent, TargetIntent};
use schemars::JsonSchema;
use serde::Deserialize;

/// What stands in the repository about one target.
#[derive(Clone, Default)]
pub struct Doc {
    /// The commit that wrote what the target renders to.
    pub content: String,
    pub suspend: bool,
    pub pin: Option<String>,
    pub mistake: Option<String>,
    /// It does not fit the profiles before this commit's.
    pub needs: Option<String>,
    pub labels: Labels,
    pub time_zone: Option<String>,
}

/// What a script may write of a fleet's document as it stands there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Excerpt {
    waves: Option<Vec<Wave>>,
    windows: Option<Vec<Window>>,
}

/// The repository at one commit.
#[derive(Clone)]
pub struct Files {
    pub commit: String,
    pub docs: BTreeMap<String, Doc>,
    pub policy: FleetPolicy,
    pub renderers: String,
    pub profile: String,
    pub unknown: bool,
}

/// `a..c` is every name from a to c that differs in its last number.
pub fn names(word: &str, all: &[String]) -> Result<Vec<String>, String> {
    if word == "all" {
        return Ok(all.to_vec());
    }
    let Some((first, last)) = word.split_once("..") else { return Ok(vec![word.to_owned()]) };
    let split = |name: &str| {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (stem, number) = name.split_at(name.len() - digits);
        number.parse::<u32>().map(|n| (stem.to_owned(), n, digits)).map_err(|e| format!("{name}: {e}"))
    };
    let ((stem, from, width), (_, to, _)) = (split(first)?, split(last)?);
    Ok((from..=to).map(|n| format!("{stem}{n:0width$}")).collect())
}

pub fn commit_id(name: &str) -> CommitId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&blake3_of(name)[..20]);
    CommitId::from_bytes(bytes)
}

fn blake3_of(text: &str) -> [u8; 32] {
    *ReleaseDigest::of([text.as_bytes()]).as_bytes()
}

pub fn target(name: &str) -> TargetName {
    name.parse().unwrap()
}

impl Files {
    pub fn new() -> Self {
        Self {
            commit: String::new(),
            docs: BTreeMap::new(),
            policy: FleetPolicy::default(),
            renderers: "v1".into(),
            profile: String::new(),
            unknown: false,
        }
    }

    /// Applies the words after a commit's message.
    pub fn edit(&mut self, words: &[String], history: &BTreeMap<String, Files>) -> Result<(), String> {
        let mut verb = "";
        let mut last = Vec::new();
        self.unknown = false;
        for word in words {
            match word.as_str() {
                "changes" | "adds" | "removes" | "suspends" | "unsuspends" | "pins" | "unpins" | "breaks"
                | "mends" | "like" | "policy" | "needs" | "labels" | "zone" => verb = word,
                "unknown" => self.unknown = true,
                word => self.edit_one(verb, word, history, &mut last)?,
            }
        }
        Ok(())
    }

    fn edit_one(
        &mut self,
        verb: &str,
        word: &str,
        history: &BTreeMap<String, Files>,
        last: &mut Vec<String>,
    ) -> Result<(), String> {
        if verb == "policy" {
            return if word.contains(": ") { self.read(word) } else { self.set(word) };
        }
        if verb == "like" {
            let old = history.get(word).ok_or(format!("no commit {word}"))?;
            (self.docs, self.policy) = (old.docs.clone(), old.policy.clone());
            return Ok(());
        }
        if verb == "breaks" && word.contains(' ') {
            for name in last.iter() {
                self.docs.get_mut(name).ok_or(format!("no target {name}"))?.mistake = Some(word.to_owned());
            }
            return Ok(());
        }
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        let all: Vec<String> = self.docs.keys().cloned().collect();
        *last = names(word, &all)?;
        for name in last.iter() {
            if verb == "removes" {
                self.docs.remove(name).ok_or(format!("no target {name}"))?;
                continue;
            }
            if verb == "adds" {
                self.docs.insert(name.clone(), Doc { content: self.commit.clone(), ..Doc::default() });
                continue;
            }
            let doc = self.docs.get_mut(name).ok_or(format!("no target {name}"))?;
            match verb {
                "changes" => doc.content = self.commit.clone(),
                "suspends" => doc.suspend = true,
                "unsuspends" => doc.suspend = false,
                "pins" => doc.pin = Some(value.to_owned()),
                "unpins" => doc.pin = None,
                "breaks" => doc.mistake = Some("fleet.yaml:1:1: broken".to_owned()),
                "mends" => doc.mistake = None,
                "needs" => doc.needs = Some(value.to_owned()),
                "zone" => doc.time_zone = Some(value.to_owned()),
                "labels" => {
                    let (key, value) = value.split_once(':').ok_or(format!("{value}: write key:value"))?;
                    doc.labels.insert(key.to_owned(), value.to_owned());
                }
                other => return Err(format!("'{other}' is no verb of a commit")),
            }
        }
        Ok(())
    }

    /// Takes over waves and windows as they would stand in the fleet's document.
    fn read(&mut self, text: &str) -> Result<(), String> {
        let found: Excerpt = read_single("fleet.yaml", text.as_bytes())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        if let Some(waves) = found.waves {
            self.policy.rollout.waves = waves;
        }
        if let Some(windows) = found.windows {
            self.policy.windows = windows;
        }
        Ok(())
    }

    fn set(&mut self, setting: &str) -> Result<(), String> {
        let (key, value) = setting.split_once('=').ok_or(format!("{setting}: write key=value"))?;
        let amount = || {
            let json = if value.ends_with('%') { format!("\"{value}\"") } else { value.to_owned() };
            serde_json::from_str::<Amount>(&json).map_err(|e| e.to_string())
        };
        let rollout = &mut self.policy.rollout;
        match (key, value) {
            ("maxConcurrency", _) => {
                let max_concurrency = Some(amount()?);
                rollout.waves = vec![Wave { max_concurrency, ..Wave::new("all".parse().unwrap()) }];
            }
            ("allowReverts", "false") => rollout.allow_reverts = false,
            ("maxFailures", _) => rollout.max_failures = amount()?,
            ("progressDeadline", _) => {
                rollout.progress_deadline = value.parse::<Span>().map_err(|e| e.to_string())?
            }
            ("onFailure", "Rollback") => rollout.on_failure = OnFailure::Rollback,
            ("onFailure", "Pause") => rollout.on_failure = OnFailure::Pause,
            ("onFailure", "Continue") => rollout.on_failure = OnFailure::Continue,
            ("offline", "Skip") => rollout.offline = Offline::Skip,
            ("offline", "Wait") => rollout.offline = Offline::Wait,
            ("onRemoval", "Delete") => self.policy.on_removal = OnRemoval::Delete,
            ("allowEmpty", "true") => self.policy.cluster.prune.allow_empty = true,
            _ => return Err(format!("no setting {setting}")),
        }
        Ok(())
    }

    fn revisions(&self) -> Revisions {
        let profile = if self.profile.is_empty() { &self.commit } else { &self.profile };
        let profiles = [("shop".parse().unwrap(), Revision::control(commit_id(profile)))].into();
        Revisions { control: Revision::control(commit_id(&self.commit)), profiles }
    }

    /// The release of a target, and a name for people.
    fn release(&self, name: &str, doc: &Doc) -> (ReleaseRef, String) {
        let content = doc.pin.as_ref().unwrap_or(&doc.content);
        let label = match (self.renderers.as_str(), self.profile.as_str()) {
            ("v1", "") => content.clone(),
            ("v1", profile) => format!("{content}+{profile}"),
            (renderers, _) => format!("{content}~{renderers}"),
        };
        let digest = ReleaseDigest::of([name.as_bytes(), label.as_bytes()]);
        (ReleaseRef { digest, revisions: self.revisions() }, label)
    }

    pub fn intent(
        &self,
        state: &FleetState,
        unmet: &BTreeMap<String, FleetName>,
        labels: &mut BTreeMap<ReleaseDigest, String>,
    ) -> Intent {
        let mut targets = BTreeMap::new();
        for (name, doc) in &self.docs {
            let (release, label) = self.release(name, doc);
            labels.insert(release.digest, label);
            // A newcomer's own definition with the accepted profiles: here, simply what is accepted.
            let entry = state.entry_revisions(&target(name)).map(|revisions| {
                let wrong =
                    |needs: &String| revisions.profiles.values().all(|r| r.commit != commit_id(needs));
                if doc.needs.as_ref().is_some_and(wrong) {
                    return Err(format!("clusters/{name}.yaml:7:5: no variable 'vip'"));
                }
                let label = doc.content.clone();
                let digest = ReleaseDigest::of([name.as_bytes(), label.as_bytes()]);
                labels.insert(digest, label);
                Ok(ReleaseRef { digest, revisions })
            });
            let mut intent = TargetIntent::new(release);
            if let Some(mistake) = &doc.mistake {
                intent.release = Err(mistake.clone());
            }
            (intent.entry, intent.suspend, intent.pinned) = (entry, doc.suspend, doc.pin.is_some());
            (intent.labels, intent.unmet) = (doc.labels.clone(), unmet.get(name).cloned());
            intent.time_zone = doc.time_zone.as_ref().map(|zone| zone.parse().unwrap());
            targets.insert(target(name), intent);
        }
        let renderers = InputDigest::of([self.renderers.as_bytes()]);
        Intent {
            revisions: self.revisions(),
            renderers,
            policy: self.policy.clone(),
            targets,
            unknown: self.unknown,
        }
    }
}
