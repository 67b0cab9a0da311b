//! F1: one commit that changes one object in each cluster. F6: the same for fleets that grow.

use fairlead_sim::faults::Verb;

use crate::content::OBJECTS;
use crate::figures::{Figures, median};
use crate::harness::Result;
use crate::plot::Point;
use crate::world::{Change, Cold, World};

/// Seconds for 1,000 clusters.
const GOAL: f64 = 10.0;

pub async fn measure(world: &mut World, cold: &Cold, runs: usize, figures: &mut Figures) -> Result<Point> {
    figures.scenario("F1");
    let names = world.names.clone();
    let mut changes = Vec::new();
    for _ in 0..runs {
        let change = world.change(&names).await?;
        println!("{} clusters: a change in {:.2} s", names.len(), change.last());
        changes.push(change);
    }
    let usage = world.daemon.usage()?;
    report(names.len(), cold, &changes, figures);
    let what = |what: &str| format!("{} clusters, {what}", names.len());
    figures.add(&what("memory at rest"), "MB", vec![usage.resident as f64 / 1e6]);
    figures.add(&what("threads"), "", vec![usage.threads as f64]);
    figures.add(&what("open files"), "", vec![usage.files as f64]);
    let each = |of: fn(&Change) -> f64| median(&changes.iter().map(of).collect::<Vec<_>>());
    Ok(Point {
        clusters: names.len(),
        seconds: each(Change::last),
        resident: usage.resident,
        cpu: each(|change| change.cpu.0),
    })
}

fn report(clusters: usize, cold: &Cold, changes: &[Change], figures: &mut Figures) {
    let what = |what: &str| format!("{clusters} clusters, {what}");
    let each = |of: &dyn Fn(&Change) -> f64| -> Vec<f64> { changes.iter().map(of).collect() };
    let objects = (clusters * OBJECTS) as f64;
    let first = cold.took.as_secs_f64();
    figures.add(&what("first apply of all objects"), "s", vec![first]);
    figures.add(&what("first apply of all objects"), "objects/s", vec![objects / first]);
    figures.add(&what("first apply, the daemon's CPU"), "s", vec![cold.cpu.as_secs_f64()]);
    figures.add(&what("first apply, peak memory"), "MB", vec![cold.peak as f64 / 1e6]);
    figures
        .add(&what("push to all converged"), "s", each(&Change::last))
        .at_most(GOAL * (clusters as f64 / 1_000.0).max(1.0));
    figures.add(&what("push to the daemon's saying so"), "s", each(&|change| change.said));
    let took = changes.iter().flat_map(|change| change.took.iter().copied()).collect();
    figures.add(&what("push to converged, of each cluster"), "s", took);
    let of = |count: &dyn Fn(&crate::simulation::OfCluster) -> usize| -> Vec<f64> {
        let clusters = changes.iter().flat_map(|change| change.asked.clusters.values());
        clusters.map(|of| count(of) as f64).collect()
    };
    figures.add(&what("PATCHes of a cluster"), "requests", of(&|of| of.applies)).exactly(1.0);
    figures.add(&what("ledger writes of a cluster"), "requests", of(&|of| of.ledger.len())).exactly(2.0);
    figures.add(&what("other requests of a cluster"), "requests", of(&|of| of.others)).exactly(0.0);
    verbs(&what("requests"), changes.iter().map(|change| &change.asked), figures);
    figures.add(&what("the daemon's CPU"), "s", each(&|change| change.cpu.0));
    figures.add(&what("the simulation's CPU"), "s", each(&|change| change.cpu.1));
    figures.add(&what("peak memory"), "MB", each(&|change| change.peak as f64 / 1e6));
}

/// A row for each verb.
pub fn verbs<'a>(
    what: &str,
    asked: impl Iterator<Item = &'a crate::simulation::Asked> + Clone,
    figures: &mut Figures,
) {
    const VERBS: [(Verb, &str); 8] = [
        (Verb::Get, "get"),
        (Verb::List, "list"),
        (Verb::Watch, "watch"),
        (Verb::Create, "create"),
        (Verb::Update, "update"),
        (Verb::Patch, "patch"),
        (Verb::Apply, "apply"),
        (Verb::Delete, "delete"),
    ];
    for (verb, name) in VERBS {
        let counts: Vec<f64> = asked.clone().map(|asked| asked.of(verb) as f64).collect();
        if counts.iter().any(|count| *count > 0.0) {
            figures.add(&format!("{what}: {name}"), "requests", counts);
        }
    }
}
