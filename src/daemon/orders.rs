//! What people order through the API.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::emergency::Standing;
use super::engine::{Engine, Turn};
use crate::repo::vanished_tags;
use crate::server::{Command, Done, Order, Refusal};
use crate::store::{AuditEntry, Tag, Write};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, SourceName, TargetName, WaveName};
use fairlead_core::rollout::{Event, Person, RevisionHold};

/// An answer that waits until what it says is saved.
pub(super) struct Answer {
    to: oneshot::Sender<Result<Done, Refusal>>,
    result: Result<Done, Refusal>,
}

impl Answer {
    pub fn send(self) {
        // The caller may have gone; the command counts all the same.
        let _gone = self.to.send(self.result);
    }
}

impl Engine {
    pub(super) fn order(&mut self, order: Order, now: Timestamp, turn: &mut Turn) {
        let Order { command, caller, reason, answer } = order;
        let (what, subject) = (command.verb(), command.subject());
        tracing::info!(who = %caller, command = what, on = subject, reason, "ordered");
        let by = Person { who: caller.name.clone(), why: reason.clone() };
        let result = self.obey(command, by, now, turn);
        let outcome = match &result {
            Ok(done) => done.message.clone(),
            Err(refusal) => format!("refused: {refusal}"),
        };
        let (what, via) = (what.to_owned(), caller.via.as_str().to_owned());
        let entry = AuditEntry { at: now, who: caller.name, via, what, subject, why: reason, outcome };
        turn.writes.push(Write::Audit(entry));
        turn.answers.push(Answer { to: answer, result });
    }

    /// An emergency stop began or ended. What people did by the file has no other trace.
    pub(super) fn stopped(&mut self, standing: Standing, now: Timestamp, turn: &mut Turn) {
        let (what, why) = match standing.stop {
            Some(stop) => {
                self.fleets.freeze(now);
                ("stop", stop.why)
            }
            None => {
                self.fleets.thaw(now, &mut turn.effects);
                ("resume", "the file was removed".to_owned())
            }
        };
        if standing.by_file {
            turn.writes.push(Write::Audit(AuditEntry {
                at: now,
                who: "whoever can write in the state folder".to_owned(),
                via: "file".to_owned(),
                what: what.to_owned(),
                subject: "all clusters".to_owned(),
                why,
                outcome: "done".to_owned(),
            }));
        }
    }

    fn obey(
        &mut self,
        command: Command,
        by: Person,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Done, Refusal> {
        let mut message = match command {
            Command::Accept { fleet, commit } => self.accept(&fleet, commit, turn)?,
            Command::Approve { fleet, wave } => self.approve(&fleet, wave, by, now, turn)?,
            Command::Retry { fleet } => match self.tell(&fleet, Event::Retry { by }, now, turn)? {
                true => format!("fleet {fleet} tries again what failed"),
                false => format!("nothing of fleet {fleet} is quarantined or has failed"),
            },
            Command::Pause { fleet } => match self.tell(&fleet, Event::Paused { by }, now, turn)? {
                true => format!("fleet {fleet} is paused: no change starts; healing and returns go on"),
                false => format!("fleet {fleet} was paused already"),
            },
            Command::Resume { fleet } => match self.tell(&fleet, Event::Resumed { by }, now, turn)? {
                true => format!("fleet {fleet} goes on"),
                false => format!("fleet {fleet} was not paused"),
            },
            Command::Adopt { target, fleet } => {
                let fleets = self.fleets_of(&target, fleet)?;
                for fleet in &fleets {
                    let event = Event::Adopted { target: target.clone(), by: by.clone() };
                    self.tell(fleet, event, now, turn)?;
                }
                format!("target {target}: objects that were there before are taken over")
            }
            Command::Leave { target, fleet } => {
                let fleets = self.fleets_of(&target, fleet)?;
                for fleet in &fleets {
                    self.workers.of(&target, fleet).leave(fleet);
                }
                format!("target {target}: its objects are released, and stay")
            }
            Command::Sync => {
                self.kick.now();
                return Ok(Done { message: "the repository is fetched".to_owned() });
            }
            // Done by the server's side of it; here they are noted.
            Command::Stop => return Ok(Done { message: "every write is stopped".to_owned() }),
            Command::ResumeAll => return Ok(Done { message: "the emergency stop ends".to_owned() }),
        };
        if self.emergency.current().is_some() {
            message.push_str("; everything is stopped, so clusters follow after 'fairlead resume'");
        }
        Ok(Done { message })
    }

    /// Passes a person's word on; whether it changed anything.
    fn tell(
        &mut self,
        fleet: &FleetName,
        event: Event,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<bool, Refusal> {
        if !self.fleets.contains(fleet) {
            return Err(Refusal::NotFound(format!("there is no fleet '{fleet}'")));
        }
        Ok(self.fleets.hear(fleet, event, now, &mut turn.effects))
    }

    /// Allows deletions, targets that leave, and waves that wait.
    fn approve(
        &mut self,
        fleet: &FleetName,
        wave: Option<WaveName>,
        by: Person,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<String, Refusal> {
        let waves = self.fleets.policy(fleet).rollout.wave_names();
        if let Some(wave) = wave.as_ref().filter(|wave| !waves.contains(wave)) {
            let known = waves.iter().map(WaveName::as_str).collect::<Vec<_>>().join(", ");
            return Err(Refusal::NotFound(format!("fleet {fleet} has no wave '{wave}': {known}")));
        }
        let held = self.holds_revision(fleet);
        let what = wave.as_ref().map(|wave| format!("wave {wave} of ")).unwrap_or_default();
        match self.tell(fleet, Event::Approved { by, wave }, now, turn)? {
            true => Ok(format!("{what}fleet {fleet}: what waited for an approval is approved")),
            false if held => Err(Refusal::Conflict(format!(
                "fleet {fleet} waits for no approval, a revision of it is held: 'fairlead accept {fleet}' lets it in"
            ))),
            false => Ok(format!("{what}fleet {fleet}: nothing waits for an approval")),
        }
    }

    fn holds_revision(&self, fleet: &FleetName) -> bool {
        self.fleets.holds_revision(fleet) || self.repository.held.contains_key(fleet)
    }

    /// Lets in what is held: the head, tags that moved or are gone, commits off the branch.
    fn accept(
        &mut self,
        fleet: &FleetName,
        commit: Option<CommitId>,
        turn: &mut Turn,
    ) -> Result<String, Refusal> {
        let Some(head) = self.repository.head else {
            return Err(Refusal::Unavailable("no commit was read yet".to_owned()));
        };
        if !self.fleets.contains(fleet) {
            return Err(Refusal::NotFound(format!("there is no fleet '{fleet}'")));
        }
        if let Some(seen) = commit.filter(|seen| *seen != head) {
            return Err(Refusal::Conflict(format!("the head is {head} by now, not {seen}")));
        }
        if !self.holds_revision(fleet) && self.repository.view.hold.is_none() {
            return match self.fleets.awaits_approval(fleet) {
                true => Err(Refusal::Conflict(format!(
                    "no revision of fleet {fleet} is held, it waits for an approval: 'fairlead approve {fleet}' gives it"
                ))),
                false => Ok(format!("no revision of fleet {fleet} is held")),
            };
        }
        self.repository.accepted = Some(head);
        self.repository.remembered.extend(self.repository.tags.clone());
        for tag in vanished_tags(&self.repository.remembered, &self.repository.tags) {
            self.repository.remembered.remove(&tag.name);
            turn.writes.push(Write::ForgetTag { source: SourceName::control(), name: tag.name });
        }
        if let Some(RevisionHold::Unreachable { commit }) = self.repository.held.get(fleet) {
            let (commit, name) = (*commit, super::reader::let_in(*commit));
            turn.writes.push(Write::Tag(Tag { source: SourceName::control(), name: name.clone(), commit }));
            self.repository.remembered.insert(name, commit);
        }
        let tags = &self.repository.tags;
        turn.writes.extend(tags.iter().map(|(name, commit)| {
            Write::Tag(Tag { source: SourceName::control(), name: name.clone(), commit: *commit })
        }));
        self.start_reading();
        Ok(format!("fleet {fleet} takes the revision that was held"))
    }

    fn fleets_of(&self, target: &TargetName, fleet: Option<FleetName>) -> Result<Vec<FleetName>, Refusal> {
        let mut fleets = self.fleets.of_target(target);
        if fleets.is_empty() {
            return Err(Refusal::NotFound(format!("no fleet has a target {target}")));
        }
        if let Some(fleet) = fleet {
            if !fleets.contains(&fleet) {
                return Err(Refusal::NotFound(format!("target {target} is not in fleet {fleet}")));
            }
            fleets = vec![fleet];
        }
        Ok(fleets)
    }
}
