//! The main job on a real API server: the daemon, controllers, a scheduler and a fake node, a fleet of one cluster.
//!
//! Rates and delays are compared only with those of a bare client in the same run, for the machine may have other
//! work.

mod apply;
mod audit;
mod bare;
mod content;
mod delays;
mod forge;
mod memory;
mod requests;
mod webhook;
mod world;

use std::time::Duration;

use clap::ValueEnum;

use crate::figures::Figures;
use crate::harness::{ControlPlane, Options, Result};
use bare::Bare;
use world::World;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// S0 and S1: a cold apply beside a bare client's.
    Apply,
    /// S3, S4 and S7: requests from the audit log.
    Requests,
    /// S2: from a push to the answer to its PATCH.
    Push,
    /// S5: from a foreign write to the answer to the healing PATCH.
    Heal,
    /// From the arrival of a real Gitea's webhook to the answer to its PATCH.
    Webhook,
    /// The daemon's memory.
    Memory,
}

/// How much is measured.
pub struct Extent {
    pairs: usize,
    samples: usize,
    idle: Duration,
}

impl Extent {
    /// Two pairs, 30 samples and a minute of idling if `quick`, else five, 200 and fifteen.
    pub fn of(quick: bool) -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        if quick {
            return Self { pairs: 2, samples: 30, idle: minutes(1) };
        }
        Self { pairs: 5, samples: 200, idle: minutes(15) }
    }
}

/// Measures some parts, or all if none is named.
pub async fn measure(parts: &[Part], extent: &Extent, figures: &mut Figures) -> Result<()> {
    let wants = |part| parts.is_empty() || parts.contains(&part);
    let plane = ControlPlane::start("bench", Options::default()).await?;
    let bare = Bare::connect(&plane).await?;
    let pairs = if wants(Part::Apply) { extent.pairs } else { 0 };
    let mut world = None;
    if pairs > 0 {
        world = apply::measure(&plane, &bare, pairs, figures).await?;
    }
    if wants(Part::Requests) || wants(Part::Push) || wants(Part::Heal) {
        let mut world = match world {
            Some(world) => world,
            None => World::converged(&plane, "ours").await?,
        };
        if wants(Part::Push) {
            figures.scenario("S2");
            delays::push(&plane, &bare, &mut world, extent.samples, figures).await?;
        }
        if wants(Part::Heal) {
            figures.scenario("S5");
            delays::heal(&plane, &bare, &world, extent.samples, figures).await?;
        }
        if wants(Part::Requests) {
            requests::measure(&plane, &mut world, extent.idle, figures).await?;
        }
    }
    if wants(Part::Webhook) {
        figures.scenario("");
        webhook::measure(&plane, &bare, extent.samples, figures).await?;
    }
    if wants(Part::Memory) {
        figures.scenario("");
        memory::measure(&plane, figures).await?;
    }
    Ok(())
}
