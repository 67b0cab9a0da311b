//! What is to be said of a commit, as records for the outbox. Decides what is worth a write; sends nothing.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::findings::FindingsRecord;
use super::status::{Said, Status, status_key};
use crate::store::{SaidRecord, Write};
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, InstanceName};
use fairlead_core::rollout::{CommitState, CommitStatus, MAX_DESCRIPTION};

/// A commit that is read within this time is not said to be about to be read.
const READING: SignedDuration = SignedDuration::from_secs(3);

/// Turns what is known into records. Knows what was said last, so that nothing is said twice.
#[derive(Debug)]
pub struct Reports {
    instance: InstanceName,
    repository: String,
    /// The daemon's address, for links.
    link: Option<String>,
    said: HashMap<String, Said>,
    /// The commit that is being read.
    reading: Option<CommitId>,
}

impl Reports {
    /// `said` is what the store remembers of the kind `status`.
    pub fn new(
        instance: InstanceName,
        repository: String,
        link: Option<String>,
        said: Vec<SaidRecord>,
    ) -> Self {
        let known = |record: SaidRecord| {
            let status: Status = serde_json::from_slice(&record.payload).ok()?;
            Some((record.key, Said { state: status.state, description: status.description }))
        };
        let link = link.map(|link| link.trim_end_matches('/').to_owned());
        let said = said.into_iter().filter_map(known).collect();
        Self { instance, repository, link, said, reading: None }
    }

    /// The outbox's kind of a status; which records the store should give to [`Reports::new`].
    pub const KIND: &str = "status";

    /// What was last said of a commit.
    pub fn told(&self, context: &str, commit: CommitId) -> Option<(CommitState, String)> {
        let said = self.said.get(&self.key(context, commit))?;
        Some((said.state, said.description.clone()))
    }

    /// A fleet's status of a commit.
    pub fn fleet(&mut self, fleet: &FleetName, status: &CommitStatus, now: Timestamp) -> Option<Write> {
        let CommitStatus { revision, state, description } = status;
        let link = self.page(&format!("fleets/{fleet}/rollouts/{}", revision.commit));
        self.say(fleet.as_str(), revision.commit, *state, description.clone(), link, now)
    }

    /// A commit was seen, and is being read. Not said where reading takes no time; and a commit that was not read in
    /// full before the next one came does not stay pending.
    pub fn seen(&mut self, commit: CommitId, now: Timestamp) -> Vec<Write> {
        let before = self.reading.replace(commit).filter(|before| *before != commit).and_then(|before| {
            let (text, page) = (format!("superseded by {}", commit.short()), self.commit_page(before));
            self.say(VALIDATE, before, CommitState::Superseded, text, page, now)
        });
        let text = "the commit is being read".to_owned();
        let key = self.key(VALIDATE, commit);
        let pending = match self.said.contains_key(&key) {
            true => None,
            false => {
                let page = self.commit_page(commit);
                self.say(VALIDATE, commit, CommitState::Pending, text, page, now + READING)
            }
        };
        before.into_iter().chain(pending).collect()
    }

    /// A commit was read, and this is wrong with it.
    pub fn validated(&mut self, commit: CommitId, found: &[Diagnostic], now: Timestamp) -> Option<Write> {
        self.reading.take_if(|reading| *reading == commit);
        let (state, text) = verdict(found);
        self.say(VALIDATE, commit, state, text, self.commit_page(commit), now)
    }

    /// The head of a pull request was read, and this is wrong with it.
    pub fn checked(
        &mut self,
        pull: u64,
        commit: CommitId,
        found: &[Diagnostic],
        now: Timestamp,
    ) -> Option<Write> {
        let (state, text) = verdict(found);
        self.say(VALIDATE, commit, state, text, self.pull_page(pull), now)
    }

    /// What is wrong with the head of a pull request, for its lines; none: nothing is.
    pub fn findings(&self, pull: u64, commit: CommitId, found: &[Diagnostic]) -> Option<FindingsRecord> {
        (!found.is_empty()).then(|| FindingsRecord {
            repository: self.repository.clone(),
            commit,
            name: self.context(FINDINGS),
            title: verdict(found).1,
            findings: found.to_vec(),
            link: self.pull_page(pull),
        })
    }

    /// The page of a pull request.
    pub fn pull_page(&self, pull: u64) -> Option<String> {
        self.page(&format!("pulls/{pull}"))
    }

    /// A commit may not be used until a person accepts it.
    pub fn held(&mut self, commit: CommitId, why: &str, now: Timestamp) -> Option<Write> {
        self.reading.take_if(|reading| *reading == commit);
        let text = shorten(&format!("held: {why}"), MAX_DESCRIPTION);
        self.say(VALIDATE, commit, CommitState::Pending, text, self.commit_page(commit), now)
    }

    fn key(&self, context: &str, commit: CommitId) -> String {
        status_key(&self.context(context), commit)
    }

    fn context(&self, context: &str) -> String {
        format!("fairlead/{}/{context}", self.instance)
    }

    fn commit_page(&self, commit: CommitId) -> Option<String> {
        self.page(&format!("commits/{commit}"))
    }

    /// A page of the daemon.
    fn page(&self, path: &str) -> Option<String> {
        self.link.as_ref().map(|link| format!("{link}/{path}"))
    }

    fn say(
        &mut self,
        context: &str,
        commit: CommitId,
        state: CommitState,
        description: String,
        link: Option<String>,
        at: Timestamp,
    ) -> Option<Write> {
        let context = self.context(context);
        let status =
            Status { repository: self.repository.clone(), commit, context, state, description, link };
        let key = status.key();
        if self.said.get(&key).is_some_and(|said| !said.differs(state, &status.description)) {
            return None;
        }
        // Of strings and numbers: it can't fail.
        let payload = serde_json::to_vec(&status).ok()?;
        self.said.insert(key.clone(), Said { state, description: status.description });
        Some(Write::Report { kind: Self::KIND.to_owned(), key, payload, next_at: at })
    }
}

const VALIDATE: &str = "validate";
const FINDINGS: &str = "findings";

/// A status of what is wrong, in a line.
pub(super) fn verdict(found: &[Diagnostic]) -> (CommitState, String) {
    let errors = found.iter().filter(|finding| finding.is_error()).count();
    let warnings = found.len() - errors;
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match found.iter().find(|finding| finding.is_error()) {
        Some(first) => {
            let text = first.to_string();
            let head = format!("{}: ", counted(errors, "error"));
            let room = MAX_DESCRIPTION.saturating_sub(head.chars().count());
            (CommitState::Failure, format!("{head}{}", shorten(&text, room)))
        }
        None if warnings > 0 => (CommitState::Success, counted(warnings, "warning")),
        None => (CommitState::Success, "everything is valid".to_owned()),
    }
}

/// The first line, at most so many characters.
fn shorten(text: &str, max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= max {
        return line.to_owned();
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::model::diagnostic::Place;
    use fairlead_core::model::revision::Revision;

    fn reports(said: Vec<SaidRecord>) -> Reports {
        let link = Some("https://fairlead.example.com/".to_owned());
        Reports::new("default".parse().unwrap(), "platform/fleet".to_owned(), link, said)
    }

    fn status(n: u8, state: CommitState, text: &str) -> CommitStatus {
        let revision = Revision::control(CommitId::from_bytes([n; 20]));
        CommitStatus { revision, state, description: text.to_owned() }
    }

    #[test]
    fn what_was_said_is_not_said_again_not_even_after_a_restart() {
        let fleet: FleetName = "retail".parse().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let mut first = reports(Vec::new());
        let pending = status(1, CommitState::Pending, "0 of 3 converged");
        let Some(Write::Report { kind, key, payload, .. }) = first.fleet(&fleet, &pending, now) else {
            panic!("nothing was said")
        };
        assert_eq!(
            (kind.as_str(), key.as_str()),
            ("status", &*format!("fairlead/default/retail@{}", "01".repeat(20)))
        );
        let sent: Status = serde_json::from_slice(&payload).unwrap();
        let page = format!("https://fairlead.example.com/fleets/retail/rollouts/{}", "01".repeat(20));
        assert_eq!(sent.link, Some(page));
        assert_eq!(first.fleet(&fleet, &pending, now), None);

        let mut again = reports(vec![SaidRecord { key, payload, at: now }]);
        assert_eq!(again.fleet(&fleet, &pending, now), None);
        assert!(again.fleet(&fleet, &status(2, CommitState::Pending, "0 of 3 converged"), now).is_some());
        assert!(again.fleet(&fleet, &status(1, CommitState::Success, "3 of 3 converged"), now).is_some());
    }

    #[test]
    fn a_verdict_names_the_first_mistake_and_fits() {
        let finding = |n: u32| Diagnostic::error(Place::file(format!("f{n}.yaml")), "x", "ä".repeat(300));
        let (state, text) = verdict(&[finding(1), finding(2)]);
        assert_eq!((state, text.chars().count()), (CommitState::Failure, MAX_DESCRIPTION));
        assert!(text.starts_with("2 errors: f1.yaml"), "{text}");
        assert_eq!(verdict(&[]), (CommitState::Success, "everything is valid".to_owned()));
    }
}
