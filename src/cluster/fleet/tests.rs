//! The state machine of a run, without a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::run::{Run, State};
use crate::model::assignment::{Assignment, ClusterPolicy, Purpose};
use crate::model::digest::{CommitId, ReleaseDigest};
use crate::model::object::ObjectKey;
use crate::model::release::{LayerId, ReleaseRef};
use crate::model::revision::{Revision, Revisions};
use crate::plan::{Action, LivePlan, PlannedLayer, Served, Verb, Why};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("", "ConfigMap", "", name)
}

fn action(name: &str, verb: Verb) -> Action {
    Action {
        key: key(name),
        version: "v1".into(),
        verb,
        why: Why::New,
        force: false,
        object: Some(0),
        served: Served::Yes,
        leave_out: vec![],
        may_replace: false,
        precondition: None,
        origin: None,
    }
}

fn layer(name: &str, waits: &[&str], first: usize, actions: Vec<Action>) -> PlannedLayer {
    let id = |name: &str| LayerId { profile: "p".parse().unwrap(), layer: name.parse().unwrap() };
    let waits: Vec<_> = waits.iter().map(|wait| id(wait)).collect();
    PlannedLayer { id: id(name), depends_on: waits.clone(), waits, changes: true, actions, first }
}

fn run(layers: Vec<PlannedLayer>, prune: Vec<Vec<Action>>) -> Run {
    let control = Revision::control(CommitId::from_bytes([0; 20]));
    let release = ReleaseRef {
        digest: ReleaseDigest::from_bytes([0; 32]),
        revisions: Revisions { control, profiles: BTreeMap::new() },
    };
    let assignment = Assignment {
        target: "t".parse().unwrap(),
        fleet: "f".parse().unwrap(),
        generation: 1,
        release,
        purpose: Purpose::Change,
        base: None,
        quarantined: vec![],
        deletions_approved: false,
        policy: ClusterPolicy::default(),
    };
    let plan =
        LivePlan { release: None, layers, prune, kept: vec![], hold: None, fail: None, deletions_left: 0 };
    Run::new(Arc::new(assignment), None, plan)
}

fn names(run: &Run, room: usize) -> Vec<String> {
    let ready = run.ready(Instant::now(), room);
    ready.iter().map(|item| run.items[*item].action.key.name().to_owned()).collect()
}

#[test]
fn layers_wait_for_health_and_ranks_for_what_comes_first() {
    let mut run = run(
        vec![
            layer("cni", &[], 1, vec![action("crd", Verb::Create), action("agent", Verb::Create)]),
            layer("shop", &["cni"], 0, vec![action("web", Verb::Update), action("same", Verb::Unchanged)]),
        ],
        vec![],
    );
    assert_eq!(names(&run, 9), ["crd"]);
    run.set(0, State::Running, false);
    assert!(names(&run, 9).is_empty());
    run.set(0, State::Done, false);
    assert!(names(&run, 9).is_empty(), "applied is not yet healthy");
    run.touch(0, true);
    assert_eq!(names(&run, 9), ["agent"]);
    run.set(1, State::Done, true);
    assert_eq!(names(&run, 9), ["web"]);
    run.touch(1, false);
    assert!(names(&run, 9).is_empty(), "a dependency that fell ill holds what has not begun");
    run.touch(1, true);
    run.set(2, State::Done, true);
    assert!(!run.is_applied(), "health of what is unchanged counts, too");
    run.touch(3, true);
    assert!(run.is_applied() && run.is_pruned());
}

#[test]
fn what_someone_changed_is_put_right_whatever_its_layer_waits_for() {
    let mut run = run(
        vec![
            layer("cni", &[], 0, vec![action("agent", Verb::Create)]),
            layer("shop", &["cni"], 0, vec![action("web", Verb::Heal), action("new", Verb::Create)]),
        ],
        vec![],
    );
    assert_eq!(names(&run, 9), ["agent", "web"]);
    assert_eq!(names(&run, 1), ["agent"], "no more than there is room for");
    let at = Instant::now() + Duration::from_secs(60);
    run.set(0, State::Later { at, why: "429".into() }, false);
    assert_eq!(names(&run, 9), ["web"]);
    assert_eq!(run.next_wake(Instant::now()), Some(at));
    assert_eq!(run.next_wake(at), None, "time is not what it waits for");
    let progress = run.progress(|_| None);
    assert_eq!((progress.applied, progress.total), (0, 3));
    assert_eq!(progress.waiting[0].reason, "429");
}

#[test]
fn a_stage_is_done_when_all_of_it_is_gone() {
    let stage = |names: &[&str]| names.iter().map(|name| action(name, Verb::Delete)).collect();
    let mut run = run(vec![], vec![stage(&["a", "b"]), stage(&["c"])]);
    assert!(run.is_applied() && !run.is_pruned());
    assert!(run.gone(&key("a")) && !run.gone(&key("a")) && !run.gone(&key("c")));
    run.stage += 1;
    assert!(run.gone(&key("c")));
    let progress = run.progress(|_| None);
    assert_eq!((progress.applied, progress.total), (2, 3));
}
