//! Bad luck with clusters, by the rows of the table of threats and faults: a worker, and a simulated cluster behind
//! faults.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead::simulated::adapt;
use fairlead_cluster::{ConnectError, Connector};
use fairlead_core::model::assignment::{Cause, FactBody};
use fairlead_core::model::name::TargetName;
use fairlead_sim::faults::{Fault, Faults, Faulty, Rule, Verb, Wait};
use fairlead_sim::{Clock, Fleet, SimSettings};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::world::World;
use crate::harness::Result;

/// Requests of the worker: when, what, and the answer's code (none: there was none).
type Log = Arc<Mutex<Vec<(Instant, &'static str, Option<u16>)>>>;

/// A worker on a cluster behind faults.
struct Bad {
    world: World,
    faults: Faults,
    log: Log,
    driver: JoinHandle<()>,
}

impl Drop for Bad {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Behind {
    client: kube::Client,
}

impl Connector for Behind {
    fn connect(&self, _: &TargetName) -> BoxFuture<'static, std::result::Result<kube::Client, ConnectError>> {
        Box::pin(std::future::ready(Ok(self.client.clone())))
    }

    fn stamp(&self, _: &TargetName) -> Option<u64> {
        None
    }
}

impl Bad {
    async fn new(seed: u64, rules: &[Rule]) -> Result<Self> {
        let settings = SimSettings { ready_after: Duration::from_millis(200), ..SimSettings::default() };
        let fleet = Fleet::new(settings, Clock::given(jiff::Timestamp::now));
        let cluster = fleet.cluster("edge-001");
        let driver = tokio::spawn(async move { fleet.drive().await });
        let faults = Faults::new("edge-001", seed, rules);
        let log = Log::default();
        let heard = Arc::clone(&log);
        let hear = move |verb, code| heard.lock().unwrap().push((Instant::now(), verb, code));
        let client = adapt::client(Faulty::new(cluster.clone(), faults.clone()), Some(Arc::new(hear)));
        let mut world = World::over(adapt::client(cluster, None), Arc::new(Behind { client }), "bad").await?;
        world.patience = Duration::from_secs(150);
        Ok(Self { world, faults, log, driver })
    }

    /// Answers to a verb since the beginning.
    fn said(&self, verb: &str) -> Vec<(Instant, Option<u16>)> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(_, asked, _)| *asked == verb).map(|(at, _, code)| (*at, *code)).collect()
    }

    fn maps(&self, count: usize, value: &str) -> Vec<Value> {
        (0..count).map(|n| self.world.cm(&format!("map-{n:02}"), value)).collect()
    }

    async fn value(&self, name: &str) -> Result<Value> {
        Ok(self.world.map(name).await?.map(|map| map["data"]["key"].clone()).unwrap_or_default())
    }
}

fn rule(fault: Fault, verbs: &[Verb]) -> Rule {
    Rule { verbs: verbs.to_vec(), ..Rule::new(fault) }
}

fn healed(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Drift { healed: true, .. })
}

fn deployment(world: &World, image: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": world.namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_fail_are_unknown_and_never_empty() -> Result<()> {
    let mut bad = Bad::new(1, &[]).await?;
    let objects = bad.maps(5, "a");
    bad.world.converge(objects.clone()).await;
    bad.world.kill().await;
    let path = Some("*/configmaps".to_owned());
    bad.faults.add(Rule { path: Some("/api/v1/configmaps".into()), ..rule(Fault::Error, &[Verb::List]) });
    bad.faults.add(Rule { path, times: Some(3), ..rule(Fault::Throttle, &[Verb::List]) });
    bad.world.start();
    let release = bad.world.release(&[("app", &[], objects[..4].to_vec())]);
    bad.world.assign(&release);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(bad.said("delete").is_empty(), "{:?}", bad.said("delete"));
    assert_eq!(bad.value("map-04").await?, "a");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_and_a_slow_cluster_cost_the_others_nothing() -> Result<()> {
    let converge = async |faults: Option<Rule>| -> Result<Duration> {
        let mut bad = Bad::new(1, faults.as_slice()).await?;
        let objects = bad.maps(20, "a");
        let start = Instant::now();
        let release = bad.world.release(&[("app", &[], objects)]);
        bad.world.assign(&release);
        bad.world.converged().await;
        Ok(start.elapsed())
    };
    let slow = Rule { wait: Some(Wait::millis(500)), ..Rule::new(Fault::Latency) };
    let dead = Bad::new(2, &[Rule::new(Fault::Dead)]).await?;
    let (beside, slowly) = futures::try_join!(converge(None), converge(Some(slow)))?;
    drop(dead);
    assert!(slowly > Duration::from_secs(1), "{slowly:?}");
    assert!(beside < slowly / 2, "{beside:?} beside one that took {slowly:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_dies_is_offline_and_goes_on_when_it_lives_again() -> Result<()> {
    let mut bad = Bad::new(1, &[]).await?;
    let objects = bad.maps(10, "a");
    bad.world.converge(objects).await;
    bad.faults.set_dead(true);
    bad.world.until("offline", |fact| matches!(fact, FactBody::Offline { .. })).await;
    bad.world.meddle("map-03", &json!({"data": {"key": "theirs"}})).await?;
    let release = bad.world.release(&[("app", &[], bad.maps(9, "b"))]);
    bad.world.assign(&release);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bad.value("map-00").await?, "a");
    bad.faults.set_dead(false);
    bad.world.converged().await;
    assert_eq!((bad.value("map-03").await?, bad.value("map-09").await?), (json!("b"), Value::Null));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_patience_is_given_it() -> Result<()> {
    let throttle =
        Rule { wait: Some(Wait::millis(2_000)), times: Some(1), ..rule(Fault::Throttle, &[Verb::Apply]) };
    let mut bad = Bad::new(1, &[throttle]).await?;
    let objects = bad.maps(30, "a");
    bad.world.converge(objects).await;
    assert_eq!(bad.faults.struck(Fault::Throttle), 1);
    let applies = bad.said("apply");
    let refused = applies.iter().find(|(_, code)| *code == Some(429)).expect("one was refused").0;
    // What was on its way at the refusal is still answered.
    let answered = refused + Duration::from_millis(500);
    let after =
        applies.iter().map(|(at, _)| *at).filter(|at| *at > answered).min().expect("it was sent again");
    assert!(after - refused >= Duration::from_secs(2), "{:?}", after - refused);
    assert_eq!(applies.len(), 31);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_end_or_are_too_old_miss_nothing() -> Result<()> {
    let close = Rule { wait: Some(Wait::millis(200)), percent: 50, ..Rule::new(Fault::CloseWatch) };
    let broken = Rule { wait: Some(Wait::millis(100)), percent: 30, ..Rule::new(Fault::BreakWatch) };
    let gone = Rule { percent: 30, ..rule(Fault::Gone, &[Verb::Watch]) };
    let mut bad = Bad::new(3, &[close, broken, gone]).await?;
    let objects = bad.maps(3, "a");
    bad.world.converge(objects).await;
    for round in 0..10 {
        let name = format!("map-{:02}", round % 3);
        bad.world.meddle(&name, &json!({"data": {"key": format!("theirs-{round}")}})).await?;
        bad.world.until("healed", healed).await;
        assert_eq!(bad.value(&name).await?, "a", "round {round}");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    for fault in [Fault::CloseWatch, Fault::BreakWatch, Fault::Gone] {
        assert!(bad.faults.struck(fault) > 0, "{fault:?}: {}", bad.faults.struck(fault));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: how long a silent watch is borne"]
async fn a_watch_on_a_half_open_connection_is_found_out() -> Result<()> {
    let silent = Rule { wait: Some(Wait::millis(1_000)), times: Some(1), ..Rule::new(Fault::SilentWatch) };
    let mut bad = Bad::new(1, &[silent]).await?;
    bad.world.patience = Duration::from_secs(300);
    let objects = bad.maps(1, "a");
    bad.world.converge(objects).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    bad.world.meddle("map-00", &json!({"data": {"key": "theirs"}})).await?;
    bad.world.until("healed", healed).await;
    assert_eq!(bad.faults.struck(Fault::SilentWatch), 1);
    assert!(start.elapsed() < Duration::from_secs(180), "{:?}", start.elapsed());
    assert_eq!(bad.value("map-00").await?, "a");

    // Nor does a request without an answer hold the work up for ever.
    bad.faults.add(Rule { times: Some(2), ..rule(Fault::HalfOpen, &[Verb::Apply]) });
    let start = Instant::now();
    let objects = bad.maps(6, "b");
    bad.world.converge(objects).await;
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_lost_makes_nothing_twice() -> Result<()> {
    let lost = Rule { percent: 40, ..Rule::new(Fault::LostReply) };
    let mut bad = Bad::new(5, &[lost]).await?;
    let objects = bad.maps(20, "a");
    bad.world.converge(objects).await;
    let before = bad.world.map("map-07").await?.unwrap();
    assert_eq!(before["metadata"]["generation"], Value::Null);
    let mut objects = bad.maps(19, "b");
    objects.push(bad.world.cm("new", "b"));
    bad.world.converge(objects).await;
    assert!(bad.faults.struck(Fault::LostReply) > 5);
    let after = bad.world.map("map-07").await?.unwrap();
    assert_eq!((&after["data"]["key"], &after["metadata"]["uid"]), (&json!("b"), &before["metadata"]["uid"]));
    let maps = bad.world.maps().list(&Default::default()).await?.items;
    assert_eq!(maps.len(), 20, "the last was pruned, one is new");
    // What was ours from the start is not taken for something that was there before.
    bad.faults.clear();
    let empty = vec![bad.world.cm("new", "b")];
    bad.world.converge(empty).await;
    assert_eq!(bad.world.maps().list(&Default::default()).await?.items.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_fights_is_named_and_slowed() -> Result<()> {
    let fight = Rule {
        wait: Some(Wait::millis(20)),
        manager: Some("fighter".into()),
        patch: Some(json!({"data": {"key": "theirs"}})),
        path: Some("*/map-00".into()),
        ..Rule::new(Fault::ForeignWriter)
    };
    let mut bad = Bad::new(1, &[fight]).await?;
    let objects = bad.maps(2, "a");
    let release = bad.world.release(&[("app", &[], objects)]);
    bad.world.assign(&release);
    bad.world.until("contested", |fact| matches!(fact, FactBody::Contested { .. })).await;
    let before = bad.said("apply").len();
    assert!(before <= 12, "{before} applies before it was called a fight");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let more = bad.said("apply").len() - before;
    assert!(more <= 2, "{more} applies in five seconds");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_down_is_no_fault_of_the_release() -> Result<()> {
    let mut bad = Bad::new(1, &[]).await?;
    let objects = bad.maps(3, "a");
    bad.world.converge(objects).await;
    bad.faults.add(rule(Fault::WebhookDown, &[Verb::Apply]));
    let release = bad.world.release(&[("app", &[], bad.maps(3, "b"))]);
    bad.world.assign(&release);
    bad.world.until("stalled", |fact| matches!(fact, FactBody::Stalled { .. })).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    bad.faults.clear();
    let heard = bad.world.converged().await;
    assert!(!heard.iter().any(|fact| matches!(fact, FactBody::Failed { .. })), "{heard:#?}");
    assert_eq!(bad.value("map-02").await?, "b");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_object_itself_fails_at_once() -> Result<()> {
    for (fault, words) in [(Fault::Quota, "exceeded quota"), (Fault::Admission, "denied the request")] {
        let mut bad = Bad::new(1, &[rule(fault, &[Verb::Apply])]).await?;
        let release = bad.world.release(&[("app", &[], bad.maps(3, "a"))]);
        let start = Instant::now();
        bad.world.assign(&release);
        let heard = bad.world.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
        let Some(FactBody::Failed { cause: Cause::Refused { message, .. }, .. }) = heard.last() else {
            panic!("{heard:#?}")
        };
        assert!(message.contains(words), "{message}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_never_becomes_ready_is_waited_for_and_pre_empted() -> Result<()> {
    for fault in [Fault::NeverReady, Fault::CrashLoop] {
        let mut bad = Bad::new(1, &[]).await?;
        let first = deployment(&bad.world, "example.com/web:1");
        bad.world.converge(vec![first]).await;
        bad.faults.add(Rule { times: Some(1), ..Rule::new(fault) });
        let web = deployment(&bad.world, "example.com/web:2");
        let release = bad.world.release(&[("app", &[], vec![web])]);
        bad.world.assign(&release);
        let waits = |fact: &FactBody| matches!(fact, FactBody::Progress { progress, .. } if !progress.waiting.is_empty());
        bad.world.until("it waits", waits).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bad.faults.struck(fault), 1);
        // The mark of the fault is another's field, and stays; without pods, nothing has to become ready.
        let mut web = deployment(&bad.world, "example.com/web:3");
        web["spec"]["replicas"] = json!(0);
        let release = bad.world.release(&[("app", &[], vec![web])]);
        bad.world.assign(&release);
        let heard = bad.world.converged().await;
        assert!(!heard.iter().any(|fact| matches!(fact, FactBody::Failed { .. })), "{fault:?}: {heard:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_comes_while_nobody_looks_is_seen_after_the_restart() -> Result<()> {
    let mut bad = Bad::new(1, &[]).await?;
    let first = deployment(&bad.world, "example.com/web:1");
    bad.world.converge(vec![first]).await;
    let mut web = deployment(&bad.world, "example.com/web:2");
    web["spec"]["progressDeadlineSeconds"] = json!(1);
    web["spec"]["template"]["metadata"]["annotations"] = json!({"sim.fairlead.dev/fail": "crash"});
    let release = bad.world.release(&[("app", &[], vec![web])]);
    bad.world.assign(&release);
    let waits =
        |fact: &FactBody| matches!(fact, FactBody::Progress { progress, .. } if !progress.waiting.is_empty());
    bad.world.until("it waits", waits).await;
    bad.world.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bad.world.start();
    bad.world.handle().assign(bad.world.assignment(&release));
    let heard = bad.world.until("failed", |fact| matches!(fact, FactBody::Failed { .. })).await;
    let Some(FactBody::Failed { generation, cause: Cause::Unhealthy { message, .. }, .. }) = heard.last()
    else {
        panic!("{heard:#?}")
    };
    assert_eq!(*generation, bad.world.generation);
    assert!(message.contains("timed out"), "{message}");
    assert_eq!(bad.said("apply").len(), 2, "nothing was applied again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_passes_by_itself_ends_in_what_the_release_says() -> Result<()> {
    futures::future::try_join_all((0..4).map(at_random)).await?;
    Ok(())
}

async fn at_random(seed: u64) -> Result<()> {
    let any = Rule { percent: 10, ..Rule::new(Fault::Any) };
    let mut bad = Bad::new(seed, &[any]).await?;
    let theirs = bad.world.cm("theirs", "theirs");
    bad.world.maps().create(&Default::default(), &serde_json::from_value(theirs)?).await?;
    for round in 0..4 {
        let mut objects = bad.maps(12 - round, &format!("round-{round}"));
        objects.push(deployment(&bad.world, &format!("example.com/web:{round}")));
        bad.world.converge(objects).await;
    }
    bad.world.meddle("map-00", &json!({"data": {"key": "theirs"}})).await?;
    bad.world.until("healed", healed).await;
    let maps = bad.world.maps().list(&Default::default()).await?.items;
    let value = |name: &str| {
        let found = maps.iter().find(|map| map.metadata.name.as_deref() == Some(name));
        found.map(|map| map.data["data"]["key"].clone())
    };
    assert_eq!(maps.len(), 10, "seed {seed}");
    assert_eq!(value("theirs"), Some(json!("theirs")), "seed {seed}");
    assert_eq!(value("map-08"), Some(json!("round-3")), "seed {seed}");
    Ok(())
}
