//! Clusters that do what the script says, a clock that moves when it says so, and the state machine between.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_core::model::assignment::{
    Assignment, Cause, Fact, FactBody, Hold, KeptObject, LedgerSummary, Progress, Purpose, Waiting,
};
use fairlead_core::model::digest::ReleaseDigest;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::LayerId;
use fairlead_core::model::units::Span;
use fairlead_core::rollout::{
    CommitState, Effect, Event, FleetState, Person, RevisionHold, report, resume, step,
};
use jiff::Timestamp;

use super::commit::{Files, commit_id, names, target};

/// One cluster, as its worker and its ledger are.
#[derive(Default)]
struct Cluster {
    order: Option<Assignment>,
    ledger: Option<Box<LedgerSummary>>,
}

pub struct World {
    pub(super) state: FleetState,
    now: Timestamp,
    wake: Option<Timestamp>,
    files: Files,
    history: BTreeMap<String, Files>,
    commits: BTreeSet<String>,
    labels: BTreeMap<ReleaseDigest, String>,
    clusters: BTreeMap<String, Cluster>,
    /// The fleets that targets wait for.
    unmet: BTreeMap<String, FleetName>,
}

type Said = Result<Vec<String>, String>;

/// Words; one in double quotes may hold spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn object(text: &str) -> ObjectKey {
    let (kind, name) = text.split_once(' ').unwrap_or(("Deployment", text));
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    ObjectKey::new("", kind, namespace, name)
}

/// What a worker holds for, by a word.
fn hold(word: &str) -> Result<Hold, String> {
    let text = str::to_owned;
    Ok(match word {
        "empty" => Hold::EmptyRelease { of: 12 },
        "foreign" => {
            Hold::ForeignOwner { object: object("Deployment shop/web"), owner: text("applyset-x-v1") }
        }
        "identity" => Hold::IdentityChanged { found: text("uid-2"), recorded: text("uid-1") },
        "same-cluster" => Hold::SameCluster { other: target("edge-009") },
        "stale-writer" => Hold::StaleWriter { found: 9 },
        "break-glass" => Hold::BreakGlass {
            object: object("Deployment shop/web"),
            until: "2026-11-23T18:00:00Z".parse().unwrap(),
            by: vec![text("kubectl-edit")],
        },
        "ledger" => Hold::LedgerDamaged { reason: text("part 2 of 3 is missing") },
        other => return Err(format!("no hold {other}")),
    })
}

fn by(who: &str, why: &str) -> Person {
    Person { who: who.to_owned(), why: why.to_owned() }
}

impl World {
    pub fn new() -> Self {
        let fleet: FleetName = "retail".parse().unwrap();
        Self {
            state: FleetState::new(fleet),
            now: "2026-11-23T09:00:00Z".parse().unwrap(),
            wake: None,
            files: Files::new(),
            history: BTreeMap::new(),
            commits: BTreeSet::new(),
            labels: BTreeMap::new(),
            clusters: BTreeMap::new(),
            unmet: BTreeMap::new(),
        }
    }

    /// Carries out one command and says what happened.
    pub fn run(&mut self, command: &str) -> Said {
        let words = words(command);
        let (verb, rest) = words.split_first().ok_or("no command")?;
        let text = |index: usize| rest.get(index).map(String::as_str).unwrap_or_default();
        let who = || by("ann", text(0));
        match verb.as_str() {
            "commit" => self.commit(rest),
            "invalid" => {
                self.commits.insert(text(0).to_owned());
                let summary = text(1).to_owned();
                Ok(self.step(Event::CommitInvalid { commit: commit_id(text(0)), summary }))
            }
            "renderers" => {
                self.files.renderers = text(0).to_owned();
                Ok(self.observe())
            }
            "profile" => {
                self.commits.insert(text(0).to_owned());
                self.files.profile = text(0).to_owned();
                Ok(self.observe())
            }
            // The same head again, with what is accepted by now.
            "observe" => Ok(self.observe()),
            "rewritten" => {
                self.commits.extend([text(0).to_owned(), text(1).to_owned()]);
                let (from, to) = (commit_id(text(0)), commit_id(text(1)));
                let reason = RevisionHold::NonFastForward { from, to };
                Ok(self.step(Event::RevisionHeld { commit: to, reason }))
            }
            "again" => Ok(self.observe()),
            "approve" => {
                let named = rest.iter().find_map(|word| word.strip_prefix("wave="));
                let wave = named.map(|name| name.parse().map_err(|e| format!("{e}"))).transpose()?;
                Ok(self.step(Event::Approved { by: who(), wave }))
            }
            "adopt" => Ok(self.step(Event::Adopted { target: target(text(0)), by: who() })),
            "replay" => self.replay(text(0), text(1), rest.get(2).map(String::as_str)),
            "retry" => Ok(self.step(Event::Retry { by: who() })),
            "pause" => Ok(self.step(Event::Paused { by: who() })),
            "resume" => Ok(self.step(Event::Resumed { by: who() })),
            "depends" => {
                let unmet: Option<FleetName> = (text(1) != "met").then(|| text(1).parse().unwrap());
                self.unmet.remove(text(0));
                self.unmet.extend(unmet.clone().map(|fleet| (text(0).to_owned(), fleet)));
                Ok(self.step(Event::Dependency { target: target(text(0)), unmet }))
            }
            "advance" => {
                let span: Span = text(0).parse().map_err(|e| format!("{e}"))?;
                Ok(self.advance(self.now + jiff::SignedDuration::try_from(span.get()).unwrap()))
            }
            "until" => {
                let end: Timestamp = text(0).parse().map_err(|e| format!("{e}"))?;
                Ok(self.advance(end))
            }
            // Nobody listens until the restart.
            "crash" => {
                self.wake = None;
                Ok(Vec::new())
            }
            "restart" => Ok(self.restart()),
            "lose-store" => {
                self.state = FleetState::new(self.state.fleet().clone());
                Ok(vec!["everything that was stored is gone".to_owned()])
            }
            "show" => Ok(self.show()),
            "statuses" => Ok(self.statuses()),
            _ => self.facts(verb, rest),
        }
    }

    fn commit(&mut self, rest: &[String]) -> Said {
        let [name, _message, words @ ..] = rest else { return Err("commit NAME \"message\" ...".into()) };
        self.commits.insert(name.clone());
        self.files.commit.clone_from(name);
        self.files.edit(words, &self.history)?;
        self.history.insert(name.clone(), self.files.clone());
        Ok(self.observe())
    }

    fn observe(&mut self) -> Vec<String> {
        let intent = self.files.intent(&self.state, &self.unmet, &mut self.labels);
        self.step(Event::CommitObserved(Box::new(intent)))
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let effects = step(&mut self.state, event, self.now);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let lines: Vec<_> = effects.into_iter().filter_map(|effect| self.effect(effect)).collect();
        lines.iter().map(|line| self.readable(line)).collect()
    }

    /// Commits by their names in the script.
    pub(super) fn readable(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for commit in &self.commits {
            let id = commit_id(commit);
            line = line.replace(&id.to_string(), commit).replace(&id.short(), commit);
        }
        line
    }

    pub(super) fn label(&self, digest: ReleaseDigest) -> &str {
        self.labels.get(&digest).map_or("?", String::as_str)
    }

    fn effect(&mut self, effect: Effect) -> Option<String> {
        Some(match effect {
            Effect::Assign(order) => {
                let mut line = format!("assign {} {}", order.target, self.label(order.release.digest));
                let purpose = match order.purpose {
                    Purpose::Change => "change",
                    Purpose::Revert => "revert",
                    Purpose::Return => "return",
                    Purpose::CatchUp => "catch up",
                    Purpose::Pin => "pin",
                };
                line.push_str(&format!(" ({purpose}, generation {}", order.generation));
                line.push_str(if order.deletions_approved { ", deletions approved" } else { "" });
                line.push_str(if order.adopt { ", adopts)" } else { ")" });
                let name = order.target.to_string();
                self.clusters.entry(name).or_default().order = Some(*order);
                line
            }
            Effect::Remove { target, generation, policy, .. } => {
                format!("remove {target} ({policy:?}, generation {generation})")
            }
            Effect::Suspend { target, suspend: true } => format!("suspend {target}"),
            Effect::Suspend { target, suspend: false } => format!("unsuspend {target}"),
            Effect::Report(status) => {
                let state = match status.state {
                    CommitState::Pending => "pending",
                    CommitState::Success => "success",
                    CommitState::Failure => "failure",
                    CommitState::Superseded => "superseded",
                };
                format!("status {} {state}: {}", status.revision.commit, status.description)
            }
            Effect::Hold { reason } => format!("hold: {reason}"),
            Effect::WakeAt(at) => {
                self.wake = Some(at);
                return None;
            }
        })
    }

    fn advance(&mut self, end: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            (self.now, self.wake) = (at, None);
            let happened = self.step(Event::Tick);
            if !happened.is_empty() {
                // The first day need not be named.
                let first = self.now < "2026-11-24T00:00:00Z".parse::<Timestamp>().unwrap();
                let format = if first { "at %H:%M:%S:" } else { "at %a %Y-%m-%d %H:%M:%S:" };
                lines.push(self.now.strftime(format).to_string());
                lines.extend(happened);
            }
        }
        self.now = end;
        lines
    }

    fn restart(&mut self) -> Vec<String> {
        let before = serde_json::to_string(&self.state).unwrap();
        self.state = serde_json::from_str(&before).unwrap();
        let effects = resume(&mut self.state, self.now);
        self.carry_out(effects)
    }

    fn facts(&mut self, verb: &str, rest: &[String]) -> Said {
        let all: Vec<String> = self.files.docs.keys().cloned().collect();
        let mut lines = Vec::new();
        let (mut targets, mut text, mut generation) = (Vec::new(), String::new(), None);
        for word in rest {
            if let Some(number) = word.strip_prefix("generation=") {
                generation = Some(number.parse().map_err(|e| format!("{word}: {e}"))?);
            } else if word == "all" || self.clusters.contains_key(word) || word.starts_with("edge-") {
                targets.extend(names(word, &all)?);
            } else {
                text.clone_from(word);
            }
        }
        for name in targets {
            let body = self.fact(verb, &name, &text, generation)?;
            let fact = Fact { target: target(&name), fleet: self.state.fleet().clone(), body };
            lines.extend(self.step(fact.into()));
        }
        Ok(lines)
    }

    fn fact(
        &mut self,
        verb: &str,
        name: &str,
        text: &str,
        generation: Option<u64>,
    ) -> Result<FactBody, String> {
        let cluster = self.clusters.entry(name.to_owned()).or_default();
        match verb {
            "online" if text == "without a ledger" => {
                cluster.ledger = None;
                return Ok(FactBody::Online { ledger: None });
            }
            "online" => return Ok(FactBody::Online { ledger: cluster.ledger.clone() }),
            "offline" => return Ok(FactBody::Offline { reason: text.to_owned() }),
            "removed" => {
                *cluster = Cluster::default();
                return Ok(FactBody::Removed);
            }
            _ => {}
        }
        let order = cluster.order.clone().ok_or(format!("{name} has no assignment"))?;
        let ledger = cluster.ledger.get_or_insert_default();
        ledger.converged.take_if(|_| ledger.generation < order.generation);
        ledger.assigned = Some(order.release.clone());
        (ledger.generation, ledger.base) = (order.generation, order.base.clone());
        // As the real one: what was accepted enters the history with the next order.
        if let Some(base) = order.base {
            ledger.history.retain(|known| known.digest != base.digest);
            ledger.history.insert(0, base);
        }
        ledger.history.retain(|known| !order.quarantined.contains(&known.digest));
        ledger.quarantined = order.quarantined;
        let (generation, release) = (generation.unwrap_or(order.generation), order.release.digest);
        let (first, second) = text.split_once(": ").unwrap_or((text, text));
        let unhealthy = || Cause::Unhealthy { object: object(first), message: second.to_owned() };
        Ok(match verb {
            "converge" => {
                ledger.converged = Some(order.release);
                FactBody::Converged { generation, release }
            }
            "fail" => FactBody::Failed { generation, release, cause: unhealthy() },
            "unhealthy" => FactBody::Unhealthy { generation, release, cause: unhealthy() },
            "stall" => FactBody::Stalled { generation, reason: text.to_owned() },
            "progress" => {
                let layer = LayerId { profile: "shop".parse().unwrap(), layer: "web".parse().unwrap() };
                let waiting = Waiting { layer, object: object(first), reason: second.to_owned() };
                let waiting = if text.is_empty() { Vec::new() } else { vec![waiting] };
                let progress = Progress { applied: 3, total: 5, waiting, ..Progress::default() };
                FactBody::Progress { generation, progress }
            }
            "over-budget" => {
                let reason = Hold::DeletionBudget { count: 30, of: 40, budget: 20, objects: Vec::new() };
                FactBody::Held { generation, release, reason }
            }
            "linger" => {
                let reason = "finalizers: example.com/keep, since 2026-11-23T11:00:00Z".to_owned();
                let kept = KeptObject { object: object(text), reason, approvable: false, deleting: true };
                FactBody::Kept { generation, objects: vec![kept] }
            }
            "gone" => FactBody::Kept { generation, objects: Vec::new() },
            "conflict" => {
                let (managers, fields) = (vec!["helm".to_owned()], vec!["spec.replicas".to_owned()]);
                let reason = Hold::Conflict { object: object(text), managers, fields };
                FactBody::Held { generation, release, reason }
            }
            "hold" => FactBody::Held { generation, release, reason: hold(text)? },
            other => return Err(format!("no command {other}")),
        })
    }

    /// What a real worker said, in the times in which it did, of the order that stands here: a recording, or the part of
    /// it up to, or from, what a person did.
    fn replay(&mut self, name: &str, recording: &str, part: Option<&str>) -> Said {
        let recorded = crate::facts::read(recording)?;
        let (first, second) = crate::facts::halves(recorded);
        let facts = match part {
            Some("then") => second,
            _ => first,
        };
        let mut lines = Vec::new();
        for (wait, body) in facts {
            lines.extend(self.advance(self.now + wait));
            let cluster = self.clusters.entry(name.to_owned()).or_default();
            let order = cluster.order.clone().ok_or(format!("{name} has no assignment"))?;
            let body = crate::facts::about(body, &order, cluster.ledger.as_deref());
            if let FactBody::Converged { .. } = &body {
                let ledger = cluster.ledger.get_or_insert_default();
                (ledger.generation, ledger.assigned) = (order.generation, Some(order.release.clone()));
                ledger.converged = Some(order.release);
            }
            let fact = Fact { target: target(name), fleet: self.state.fleet().clone(), body };
            lines.extend(self.step(fact.into()));
        }
        Ok(lines)
    }

    fn statuses(&self) -> Vec<String> {
        let statuses = report(&self.state).statuses;
        let lines =
            statuses.iter().map(|s| format!("{} {:?}: {}", s.revision.commit, s.state, s.description));
        lines.map(|line| self.readable(&line)).collect()
    }
}
