//! A short fault marathon; the long one is `cargo bench --bench fairlead-soak`.

use std::time::Duration;

use crate::marathon::{Options, run};

/// Takes the seed that a failed run printed.
const SEED: &str = "FAIRLEAD_TEST_SEED";

#[test]
fn a_fleet_comes_right_after_whatever_happens_to_it() {
    let seed = std::env::var(SEED).map_or_else(|_| fastrand::u64(..1_000_000), |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let length = Duration::from_secs(20);
    let options = Options {
        clusters: 49,
        seed,
        steps: None,
        length,
        slow: false,
        loud: true,
        hostile: true,
        daemon: None,
    };
    let done = run(options).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{done:?}");
    assert!(done.steps > 0, "the machine was too slow for a single step");
}
