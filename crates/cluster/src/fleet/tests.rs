//! The state machine of a run, without a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::run::{Run, State};
use fairlead_core::model::assignment::{Assignment, ClusterPolicy, Purpose};
use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::{LayerId, ReleaseRef};
use fairlead_core::model::revision::{Revision, Revisions};
use fairlead_core::plan::{Action, LivePlan, PlannedLayer, Served, Verb, Why};

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
        unblocks: false,
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
    run_of(layers, vec![], prune)
}

fn run_of(layers: Vec<PlannedLayer>, unblock: Vec<Action>, prune: Vec<Vec<Action>>) -> Run {
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
        adopt: false,
        policy: ClusterPolicy::default(),
    };
    let plan = LivePlan {
        release: None,
        layers,
        unblock,
        prune,
        kept: vec![],
        hold: None,
        fail: None,
        deletions_left: 0,
    };
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

fn webhook(name: &str, verb: Verb) -> Action {
    let kind = "ValidatingWebhookConfiguration";
    Action {
        key: ObjectKey::new("admissionregistration.k8s.io", kind, "", name),
        object: None,
        ..action(name, verb)
    }
}

#[test]
fn what_can_block_others_goes_before_everything_else() {
    let mut calmed = webhook("calmed", Verb::Update);
    calmed.unblocks = true;
    let layers = vec![
        layer("base", &[], 0, vec![action("map", Verb::Update), action("mine", Verb::Heal)]),
        layer("last", &["base"], 0, vec![calmed]),
    ];
    let mut run = run_of(layers, vec![webhook("dropped", Verb::Delete)], vec![]);
    assert!(run.is_unblocking());
    assert_eq!(names(&run, 9), ["mine", "calmed"], "healing waits for nothing");
    let now = Instant::now();
    assert_eq!(run.unblock_due(now).len(), 1);
    run.set(2, State::Done, true);
    assert!(run.is_unblocking());
    let dropped = webhook("dropped", Verb::Delete).key;
    // One that hangs, or is refused again and again, keeps nothing else from being tried.
    run.leaver_mut(&dropped).unwrap().state = State::Leaving;
    assert!(!run.is_unblocking() && !run.is_pruned());
    assert_eq!(names(&run, 9), ["map", "mine"]);
    assert!(run.gone(&dropped) && run.is_pruned());
    let mut refused = run_of(vec![], vec![webhook("dropped", Verb::Delete)], vec![]);
    let again = State::Later { at: now, why: "no".into() };
    for tries in 1..5 {
        let leaver = refused.leaver_mut(&dropped).unwrap();
        (leaver.tries, leaver.state) = (tries, again.clone());
        assert_eq!(refused.is_unblocking(), tries < 3);
    }
}

#[test]
fn a_refusal_at_admission_lets_go_ahead_what_may_end_it() {
    let layers = vec![
        layer("base", &[], 0, vec![action("map", Verb::Update)]),
        layer("last", &["base"], 0, vec![webhook("mended", Verb::Update), webhook("new", Verb::Create)]),
    ];
    let mut run = run_of(layers, vec![], vec![]);
    assert_eq!(names(&run, 9), ["map"]);
    run.set(0, State::Running, false);
    let now = Instant::now();
    assert!(run.unblocks(now), "what is changed in a later layer may be why");
    run.items[0].tries = 1;
    run.set(0, State::Later { at: now + Duration::from_secs(60), why: "refused".into() }, false);
    assert_eq!(names(&run, 9), ["mended"]);
    run.set(1, State::Done, true);
    assert!(!run.is_unblocking());
    run.after_unblocking(now);
    assert_eq!(names(&run, 9), ["map"], "it is tried again at once");
    assert!(run.unblocks(now), "servers hear of it a moment later");
    assert!(!run.unblocks(now + Duration::from_secs(11)));
}

#[test]
fn what_only_waits_to_be_gone_is_overdue_after_a_moment() {
    let stages = vec![vec![action("a", Verb::Delete)], vec![action("b", Verb::Delete)]];
    let mut run = run(vec![], stages);
    let now = Instant::now();
    assert!(!run.is_overdue(now), "it was not asked for yet");
    let leaver = run.leaver_mut(&key("a")).unwrap();
    (leaver.state, leaver.patience) = (State::Leaving, Some(now + Duration::from_secs(10)));
    assert!(!run.is_overdue(now));
    assert_eq!(run.next_wake(now), Some(now + Duration::from_secs(10)));
    let later = now + Duration::from_secs(10);
    assert!(run.is_overdue(later));
    let lingering: Vec<_> =
        run.lingering().map(|(l, after)| (l.action.key.clone(), after.cloned())).collect();
    assert_eq!(lingering, [(key("a"), None), (key("b"), Some(key("a")))]);
    assert!(run.gone(&key("a")));
    assert!(!run.is_overdue(later), "the next stage begins");
    assert_eq!(run.prune_due(later).len(), 1);
    assert!(run.gone(&key("b")));
    assert!(run.prune_due(later).is_empty() && run.is_pruned() && run.lingering().next().is_none());
}

#[test]
fn a_run_is_held_up_where_nothing_else_can_move() {
    let layers = vec![
        layer("base", &[], 0, vec![action("back", Verb::Recreate), action("map", Verb::Update)]),
        layer("last", &["base"], 0, vec![action("after", Verb::Create)]),
    ];
    let mut run = run(layers, vec![]);
    assert_eq!(run.held_up(), None, "another object is to be changed");
    run.set(1, State::Done, false);
    assert_eq!(run.held_up(), None, "and to become healthy");
    run.touch(1, true);
    assert_eq!(run.held_up(), Some(0));
    run.set(0, State::Todo, false);
    assert_eq!(run.held_up(), None);
    run.set(0, State::Later { at: Instant::now(), why: "its namespace is being deleted".into() }, false);
    assert_eq!(run.held_up(), None);
    run.items[0].held_up = true;
    assert_eq!(run.held_up(), Some(0));
    run.set(0, State::Done, true);
    assert!(!run.items[0].held_up);

    // What was applied to a namespace that is going is not healthy for that, and fails no commit by the clock.
    let layers = vec![layer("base", &[], 0, vec![action("lost", Verb::Create), action("web", Verb::Create)])];
    let mut run = self::run(layers, vec![]);
    run.items.iter_mut().for_each(|item| item.action.key = ObjectKey::new("", "ConfigMap", "shop", "x"));
    run.set(1, State::Done, false);
    run.set(0, State::Later { at: Instant::now(), why: "its namespace is being deleted".into() }, false);
    run.items[0].held_up = true;
    assert_eq!(run.held_up(), None, "its kind is not served: nothing of the other");
    run.items[0].no_namespace = true;
    assert_eq!(run.held_up(), Some(0));
}
