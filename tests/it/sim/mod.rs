//! Holds simulated clusters to a real API server: the same requests to both, and the answers compared.

mod compare;
mod faults;
mod kinds;
mod known;
mod kubectl;
mod process;
mod random;
mod record;
mod run;
mod shrink;
mod side;
mod step;

use std::sync::atomic::{AtomicU64, Ordering};

use fairlead::simulated::adapt;
use fairlead_sim::{Clock, Fleet, SimSettings};
use futures::StreamExt as _;
use futures::stream;
use kube::Client;
use tokio::sync::OnceCell;

use crate::harness::{ControlPlane, Options};
use run::Finding;
use side::Side;
use step::Step;

/// How many seeds a run tries, unless `FAIRLEAD_DIFF_SEEDS` says otherwise.
const SEEDS: u64 = 24;
/// How many sorts of differences are shrunk, where there are many.
const SHRUNK: usize = 4;
/// Sequences at a time.
const AT_ONCE: usize = 4;

/// A real API server on which nothing moves by itself.
async fn still() -> &'static ControlPlane {
    static STILL: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = || ControlPlane::start("still", Options { controllers: false, users: Vec::new() });
    STILL.get_or_try_init(start).await.expect("a control plane")
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("FAIRLEAD_DIFF_SEED").unwrap_or(1);
    first..first + number("FAIRLEAD_DIFF_SEEDS").unwrap_or(SEEDS)
}

/// A namespace of a sequence's own on a cluster.
async fn side(client: &Client) -> Side {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // No name is another's beginning.
    let namespace = format!("diff-{:06}", LAST.fetch_add(1, Ordering::Relaxed));
    let object =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let mut side = Side::new(client.clone(), namespace);
    let made = side.send(&step::Send::post("/api/v1/namespaces", object)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    side
}

/// Sends each sequence to two clusters of `pair`, and fails with what differs, shrunk.
async fn hold(sequences: Vec<(String, Vec<Step>)>, pair: impl AsyncFn() -> (Side, Side)) {
    let listed = known::listed();
    let differs = async |steps: &[Step]| {
        let (a, b) = pair().await;
        run::run(steps, a, b, &listed).await
    };
    let runs = sequences.into_iter().map(async |(name, steps)| {
        let finding = differs(&steps).await?;
        Some((name, steps, finding))
    });
    let found: Vec<_> =
        stream::iter(runs).buffer_unordered(AT_ONCE).filter_map(async |found| found).collect().await;
    let mut kinds = std::collections::BTreeMap::<String, (String, Vec<Step>, Finding)>::new();
    let count = found.len();
    for (name, steps, finding) in found {
        kinds.entry(finding.signature()).or_insert((name, steps, finding));
    }
    let mut report = String::new();
    for (n, (signature, (name, steps, finding))) in kinds.into_iter().enumerate() {
        report.push_str(&format!("\n=== {name}: {signature}\n"));
        if n < SHRUNK {
            let (steps, finding) = shrink::shrink(steps, finding, &differs).await;
            report.push_str(&format!("{}{finding}\n", run::lines(&steps)));
        } else {
            report.push_str(&format!("{finding}\n"));
        }
    }
    assert!(count == 0, "{count} sequences are answered otherwise (A is the real server):\n{report}");
}

fn random_sequences() -> Vec<(String, Vec<Step>)> {
    seeds().map(|seed| (format!("seed {seed}"), random::sequence(seed))).collect()
}

/// What workers sent, by the names of the files.
fn recorded_sequences() -> Vec<(String, Vec<Step>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(record::folder()).unwrap().map(Result::unwrap) {
        let steps = step::read(&std::fs::read_to_string(entry.path()).unwrap());
        found.push((entry.file_name().to_string_lossy().into_owned(), steps));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_does_not_differ_from_itself() {
    let client = still().await.client().await.unwrap();
    let sequences = recorded_sequences().into_iter().chain(random_sequences().into_iter().take(4));
    hold(sequences.collect(), async || (side(&client).await, side(&client).await)).await;
}

/// A new simulated cluster, on which nothing moves by itself either.
async fn simulated(fleet: &Fleet) -> Side {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let cluster = fleet.cluster(&format!("cluster-{}", LAST.fetch_add(1, Ordering::Relaxed)));
    side(&adapt::client(cluster, None)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_cluster_answers_as_a_real_one() {
    let client = still().await.client().await.unwrap();
    let settings = SimSettings { controllers: false, ..SimSettings::default() };
    let fleet = Fleet::new(settings, Clock::given(jiff::Timestamp::now));
    let driven = fleet.clone();
    let driver = tokio::spawn(async move { driven.drive().await });
    let sequences = recorded_sequences().into_iter().chain(random_sequences()).collect();
    hold(sequences, async || (side(&client).await, simulated(&fleet).await)).await;
    driver.abort();
}
