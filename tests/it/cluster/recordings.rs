//! What a worker says of a hold, an adoption, a failure, a relapse, a restart: the same as is recorded in
//! `tests/facts`, which the scenarios play to the state machine. So that they are fed what workers really say.

use std::time::Duration;

use fairlead_core::model::assignment::{FactBody, Hold};
use fairlead_core::model::fleet::DriftMode;
use fairlead_core::model::units::Amount;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use super::world::{SOON, World};
use crate::facts::{self, Line};
use crate::harness::{Result, shared};

/// For so long nothing new is said of a state that is stable: longer than the worker waits before it looks again.
const QUIET: Duration = Duration::from_secs(5);

struct Recorder {
    world: World,
    lines: Vec<Line>,
    last: Instant,
}

impl Recorder {
    async fn new(name: &str) -> Result<Self> {
        let world = World::new(shared("alpha").await?, &format!("facts-{name}")).await?;
        Ok(Self { world, lines: Vec::new(), last: Instant::now() })
    }

    fn note(&mut self, fact: FactBody) {
        let after = (self.last.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        self.last = Instant::now();
        self.lines.push(Line::Fact { after, fact });
    }

    /// Listens until a fact, and then for as long as it takes to know that the state is stable.
    async fn until(&mut self, what: &str, is: impl Fn(&FactBody) -> bool) {
        let end = Instant::now() + SOON;
        loop {
            let Some(fact) = self.world.next_fact(end.saturating_duration_since(Instant::now())).await else {
                panic!("{what}: not in time, only {:#?}", self.lines);
            };
            let found = is(&fact);
            self.note(fact);
            if found {
                break;
            }
        }
        let end = Instant::now() + QUIET;
        while let Some(fact) = self.world.next_fact(end.saturating_duration_since(Instant::now())).await {
            self.note(fact);
        }
    }

    /// Something is done from outside; what was said before is of the time before.
    fn done(&mut self, what: &str) {
        self.last = Instant::now();
        self.lines.push(Line::Done { done: what.to_owned() });
    }

    /// Compares with what is recorded, or records it.
    fn check(self, name: &str) {
        if std::env::var_os("FAIRLEAD_BLESS").is_some() {
            let lines: Vec<_> = self.lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
            std::fs::write(facts::path(name), lines.join("\n") + "\n").unwrap();
        }
        let recorded = facts::read(name).unwrap();
        assert_eq!(shape(&self.lines), shape(&recorded), "{name}: {:#?}", self.lines);
    }
}

/// Which facts came in which order, without what differs from run to run.
fn shape(lines: &[Line]) -> Vec<String> {
    let one = |line: &Line| match line {
        Line::Done { done } => format!("> {done}"),
        Line::Fact { fact, .. } => match fact {
            FactBody::Online { .. } => "online".to_owned(),
            FactBody::Progress { progress, .. } => match (progress.holds.first(), &progress.stalled) {
                (Some(hold), _) => format!("progress, held: {}", kind(hold)),
                (None, Some(_)) => "progress, stalled".to_owned(),
                (None, None) => "progress".to_owned(),
            },
            FactBody::Held { reason, .. } => format!("held: {}", kind(reason)),
            FactBody::Failed { cause, .. } => format!("failed: {}", word(&format!("{cause:?}"))),
            FactBody::Unhealthy { .. } => "unhealthy".to_owned(),
            FactBody::Converged { .. } => "converged".to_owned(),
            FactBody::Kept { objects, .. } => format!("kept {}", objects.len()),
            other => word(&format!("{other:?}")),
        },
    };
    let mut all: Vec<String> = lines.iter().map(one).collect();
    all.dedup();
    // Whether a problem that is over was met once more depends on when the worker tried.
    let after_done =
        |all: &[String], at: usize| at > 0 && all[at] == "Stalled" && all[at - 1].starts_with('>');
    while let Some(at) = (0..all.len()).find(|at| after_done(&all, *at)) {
        all.remove(at);
    }
    all
}

fn kind(hold: &Hold) -> String {
    word(&format!("{hold:?}"))
}

fn word(text: &str) -> String {
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn converged(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Converged { .. })
}

fn held(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Held { .. })
}

async fn with_conflict(name: &str) -> Result<(Recorder, fairlead_core::model::release::ReleaseRef)> {
    let mut recorder = Recorder::new(name).await?;
    let world = &mut recorder.world;
    let theirs = world.cm("theirs", "theirs");
    world.maps().patch("theirs", &PatchParams::apply("helm"), &Patch::Apply(&theirs)).await?;
    // creationTimestamps are whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let release = world.release(&[("app", &[], vec![world.cm("theirs", "ours"), world.cm("free", "a")])]);
    world.assign(&release);
    recorder.until("held", held).await;
    Ok((recorder, release))
}

#[tokio::test]
async fn a_conflict_that_a_person_adopts() -> Result<()> {
    let (mut recorder, release) = with_conflict("adopted").await?;
    recorder.done("adopted");
    recorder.world.adopt(&release);
    recorder.until("converged", converged).await;
    assert_eq!(recorder.world.map("theirs").await?.unwrap()["data"]["key"], "ours");
    recorder.check("a-conflict-that-a-person-adopts");
    Ok(())
}

#[tokio::test]
async fn a_conflict_that_a_person_ends_in_the_cluster() -> Result<()> {
    let (mut recorder, _) = with_conflict("ended").await?;
    recorder.done("deleted in the cluster");
    recorder.world.maps().delete("theirs", &Default::default()).await?;
    recorder.until("converged", converged).await;
    assert_eq!(recorder.world.map("theirs").await?.unwrap()["data"]["key"], "ours");
    recorder.check("a-conflict-that-a-person-ends-in-the-cluster");
    Ok(())
}

#[tokio::test]
async fn a_conflict_over_a_restart() -> Result<()> {
    let (mut recorder, release) = with_conflict("restart").await?;
    recorder.done("restarted");
    recorder.world.kill().await;
    recorder.world.start();
    recorder.world.handle().assign(recorder.world.assignment(&release));
    recorder.until("held again", held).await;
    recorder.check("a-conflict-over-a-restart");
    Ok(())
}

#[tokio::test]
async fn deletions_beyond_the_budget() -> Result<()> {
    let mut recorder = Recorder::new("budget").await?;
    let world = &mut recorder.world;
    let maps: Vec<_> = (0..6).map(|i| world.cm(&format!("map-{i}"), "a")).collect();
    world.converge(maps).await;
    world.policy.prune.max_deletions = Amount::Count(2);
    let release = world.release(&[("app", &[], vec![world.cm("map-0", "a")])]);
    world.assign(&release);
    recorder.until("held", held).await;
    recorder.done("approved");
    let world = &mut recorder.world;
    world.generation += 1;
    let mut approved = world.assignment(&release);
    approved.deletions_approved = true;
    world.handle().assign(approved);
    recorder.until("converged", converged).await;
    recorder.check("deletions-beyond-the-budget");
    Ok(())
}

#[tokio::test]
async fn an_object_that_is_refused() -> Result<()> {
    let mut recorder = Recorder::new("refused").await?;
    let world = &mut recorder.world;
    world.converge(vec![world.cm("one", "a")]).await;
    let mut service = world.cm("web", "");
    service["kind"] = json!("Service");
    service.as_object_mut().unwrap().remove("data");
    service["spec"] = json!({"ports": [{"port": 70_000}]});
    let release = world.release(&[("app", &[], vec![world.cm("one", "b"), service])]);
    world.assign(&release);
    recorder.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
    recorder.check("an-object-that-is-refused");
    Ok(())
}

#[tokio::test]
async fn a_relapse_and_recovery() -> Result<()> {
    let mut recorder = Recorder::new("relapse").await?;
    let world = &mut recorder.world;
    world.policy.drift.mode = DriftMode::Report;
    let release = world.release(&[("app", &[], vec![world.cm("one", "a")])]);
    world.assign(&release);
    recorder.until("converged", converged).await;
    recorder.world.maps().delete("one", &Default::default()).await?;
    recorder.until("unhealthy", |fact| matches!(fact, FactBody::Unhealthy { .. })).await;
    recorder.done("allowed to heal");
    recorder.world.policy.drift.mode = DriftMode::Heal;
    recorder.world.handle().assign(recorder.world.assignment(&release));
    recorder.until("converged", converged).await;
    recorder.check("a-relapse-and-recovery");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_someone_else_deletes() -> Result<()> {
    let mut recorder = Recorder::new("terminating").await?;
    let inner = "facts-terminating-inner";
    let plane = recorder.world.plane();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}});
    plane.kubectl_with_input(&["create", "-f", "-"], &namespace.to_string()).await?;
    // Something of theirs holds it up.
    let blocker = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "blocker", "namespace": inner, "finalizers": ["example.com/theirs"]}});
    plane.kubectl_with_input(&["create", "-f", "-"], &blocker.to_string()).await?;
    plane.kubectl(&["delete", "namespace", inner, "--wait=false"]).await?;
    let mut map = recorder.world.cm("one", "a");
    map["metadata"]["namespace"] = json!(inner);
    let release = recorder.world.release(&[("app", &[], vec![map])]);
    recorder.world.assign(&release);
    recorder.until("stalled", |fact| matches!(fact, FactBody::Stalled { .. })).await;
    recorder.done("the namespace is made again");
    let free = [
        "patch",
        "configmap",
        "blocker",
        "-n",
        inner,
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ];
    plane.kubectl(&free).await?;
    plane.kubectl(&["wait", "--for=delete", &format!("namespace/{inner}"), "--timeout=60s"]).await?;
    plane.kubectl_with_input(&["create", "-f", "-"], &namespace.to_string()).await?;
    recorder.until("converged", converged).await;
    recorder.check("a-namespace-that-someone-else-deletes");
    Ok(())
}
