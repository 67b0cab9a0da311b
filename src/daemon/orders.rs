//! What people order through the API.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::engine::{Engine, Turn};
use crate::model::digest::CommitId;
use crate::model::name::{FleetName, SourceName, TargetName};
use crate::rollout::{Event, Person, RevisionHold};
use crate::server::{Command, Done, Order, Refusal};
use crate::store::{AuditEntry, Tag, Write};

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
        turn.writes.push(Write::Audit(AuditEntry {
            at: now,
            who: caller.name.clone(),
            via: caller.via.as_str().to_owned(),
            what: command.verb().to_owned(),
            subject: command.subject(),
            why: reason.clone(),
        }));
        tracing::info!(who = %caller, command = command.verb(), on = command.subject(), reason, "ordered");
        let by = Person { who: caller.name, why: reason };
        let result = self.obey(command, by, now, turn);
        turn.answers.push(Answer { to: answer, result });
    }

    fn obey(
        &mut self,
        command: Command,
        by: Person,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Done, Refusal> {
        let message = match command {
            Command::Accept { fleet, commit } => self.accept(&fleet, commit, by, now, turn)?,
            Command::Retry { fleet } => {
                self.tell(&fleet, Event::Retry { by }, "tries its releases again", now, turn)?
            }
            Command::Pause { fleet } => self.tell(&fleet, Event::Paused { by }, "is paused", now, turn)?,
            Command::Resume { fleet } => self.tell(&fleet, Event::Resumed { by }, "goes on", now, turn)?,
            Command::Adopt { target, fleet } => {
                let fleets = self.fleets_of(&target, fleet)?;
                for fleet in &fleets {
                    self.workers.of(&target, fleet).adopt(fleet, []);
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
                "the repository is fetched".to_owned()
            }
        };
        Ok(Done { message })
    }

    fn tell(
        &mut self,
        fleet: &FleetName,
        event: Event,
        what: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<String, Refusal> {
        if !self.fleets.contains(fleet) {
            return Err(Refusal::NotFound(format!("no fleet {fleet}")));
        }
        self.fleets.decide(fleet, event, now, &mut turn.effects);
        Ok(format!("fleet {fleet} {what}"))
    }

    /// Lets in what is held: the head, moved tags, commits off the branch; and what waits for an approval.
    fn accept(
        &mut self,
        fleet: &FleetName,
        commit: Option<CommitId>,
        by: Person,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<String, Refusal> {
        let Some(head) = self.repository.head else {
            return Err(Refusal::Unavailable("no commit was read yet".to_owned()));
        };
        if let Some(seen) = commit.filter(|seen| *seen != head) {
            return Err(Refusal::Conflict(format!("the head is {head} by now, not {seen}")));
        }
        let message =
            self.tell(fleet, Event::Approved { by, wave: None }, "takes what was held", now, turn)?;
        self.repository.accepted = Some(head);
        self.repository.remembered.extend(self.repository.tags.clone());
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
        Ok(message)
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
