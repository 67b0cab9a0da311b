//! F2: the same change while some clusters are dead and some are slow, beside a fleet without faults, in pairs.

use fairlead_sim::faults::{Fault, Rule, Wait};

use crate::figures::{Figures, median, p99};
use crate::harness::Result;
use crate::world::World;

/// Of a hundred clusters.
const DEAD: usize = 1;
const SLOW: usize = 5;
/// Requests take between half of it and all of it: two seconds on average.
const WAIT: Wait = Wait::millis(2_667);
/// The healthy clusters' p99, in percent of that of a fleet without faults.
const GOAL: f64 = 115.0;

/// Pairs in the order A B, B A, A B and so on.
pub async fn measure(sound: &mut World, clusters: usize, pairs: usize, figures: &mut Figures) -> Result<()> {
    let (mut ill, _) = World::converged(clusters).await?;
    let dead = clusters * DEAD / 100;
    let slow = clusters * SLOW / 100;
    // Spread over the fleet, so that they are in every region.
    let step = clusters / (dead + slow).max(1);
    let is_ill = |number: usize| number.is_multiple_of(step) && number / step < dead + slow;
    for number in (0..clusters).filter(|number| is_ill(*number)) {
        let faults = ill.simulation.faults(&ill.names[number])?;
        if number / step < dead {
            faults.set_dead(true);
        } else {
            faults.add(Rule { wait: Some(WAIT), ..Rule::new(Fault::Latency) });
        }
    }
    let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<String> {
        ill.names.iter().enumerate().filter(|(n, _)| wanted(*n)).map(|(_, name)| name.clone()).collect()
    };
    let healthy = of(&|number| !is_ill(number));
    let slow = of(&|number| is_ill(number) && number / step >= dead);
    let all = sound.names.clone();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        for turn in 0..2 {
            if (pair + turn) % 2 == 0 {
                theirs.push(p99(&sound.change(&all).await?.took));
            } else {
                ours.push(p99(&ill.change(&healthy).await?.took));
                // The next change should find the slow ones at rest.
                ill.until_written(&slow, 2).await?;
            }
        }
        println!("pair {pair}: p99 {:.2} s without faults, {:.2} s with", theirs[pair], ours[pair]);
    }
    ill.stop().await?;
    figures.scenario("F2");
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| 100.0 * ours / theirs).collect();
    let what = |what: &str| format!("{clusters} clusters, {what}");
    figures.add(&what("p99 without faults"), "s", theirs.clone());
    figures.add(&what("healthy ones' p99, 1 % dead, 5 % slow"), "s", ours.clone());
    figures.add(&what("healthy ones' p99, of that without faults"), "%", ratios).median_at_most(GOAL);
    let all = 100.0 * median(&ours) / median(&theirs);
    figures.add(&what("the same of the medians"), "%", vec![all]).at_most(GOAL);
    Ok(())
}
