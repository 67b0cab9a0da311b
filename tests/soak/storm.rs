//! What goes wrong while a commit is on its way.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use fairlead_sim::faults::{Fault, Rule, Verb, Wait};

use super::aim::Aim;
use super::stage::list;
use super::{World, Wrong};

/// Furthest that a clock is moved in all, in seconds.
const FURTHEST: i64 = 40 * 86_400;

/// Faults of one step.
#[derive(Debug, Default, Clone)]
pub struct Storm {
    weather: Vec<(BTreeSet<String>, Rule)>,
    /// How long the weather lasts; none: until all is settled in spite of it.
    lasts: Option<Duration>,
    dead: BTreeSet<String>,
    /// From one start to the next kill.
    kills: Vec<Duration>,
    /// When the daemon's clock jumps, and by how many seconds.
    jump: Option<(Duration, i64)>,
    /// The clusters' clock goes on by so many seconds.
    ahead: Option<i64>,
    full: Option<Duration>,
}

impl Storm {
    pub fn is_calm(&self) -> bool {
        self.weather.is_empty()
            && self.dead.is_empty()
            && self.kills.is_empty()
            && self.jump.is_none()
            && self.ahead.is_none()
            && self.full.is_none()
    }

    /// Leaves these clusters alone.
    pub fn spare(mut self, clusters: &BTreeSet<String>) -> Self {
        self.dead.retain(|cluster| !clusters.contains(cluster));
        self
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (clusters, rule) in &self.weather {
            let wait = rule.wait.map(|wait| format!(" {:?}", wait.get())).unwrap_or_default();
            let _ = write!(text, "; {:?}{wait} {}% on {}", rule.fault, rule.percent, list(clusters));
        }
        if !self.dead.is_empty() {
            let _ = write!(text, "; dead: {}", list(&self.dead));
        }
        if !self.kills.is_empty() {
            let _ = write!(text, "; killed after {:?}", self.kills);
        }
        if let Some((at, by)) = self.jump {
            let _ = write!(text, "; the clock jumps by {by} s after {at:?}");
        }
        if let Some(by) = self.ahead {
            let _ = write!(text, "; the clusters' clock is {by} s ahead");
        }
        if let Some(full) = self.full {
            let _ = write!(text, "; the disk is full for {full:?}");
        }
        text
    }
}

impl World {
    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(0..=most))
    }

    pub fn any_clusters(&mut self, most: usize) -> BTreeSet<String> {
        let all = self.clusters();
        self.some(&all, most).into_iter().collect()
    }

    /// Half of the time nothing at all.
    pub fn storm(&mut self) -> Storm {
        let mut storm = Storm::default();
        let roll = self.random.u32(0..100);
        if roll < 45 {
            return storm;
        }
        if !(75..95).contains(&roll) {
            self.weather(&mut storm);
        }
        if (70..90).contains(&roll) || roll >= 97 {
            storm.kills = (0..self.random.usize(1..=3)).map(|_| self.millis(900)).collect();
        }
        match roll {
            90 | 91 if self.host.can_jump() => {
                let by = [-86_400, -3_600, -61, 61, 3_600, 86_400];
                storm.jump = Some((self.millis(400), by[self.random.usize(..by.len())]));
            }
            92 => {
                let by = [1, 61, 3_600];
                storm.ahead = Some(by[self.random.usize(..by.len())]);
            }
            93 | 94 => storm.full = Some(self.millis(1_500)),
            _ => {}
        }
        storm
    }

    fn weather(&mut self, storm: &mut Storm) {
        let lasts = self.millis(2_500);
        storm.lasts = self.random.bool().then_some(lasts);
        for _ in 0..self.random.usize(1..=3) {
            let most = if self.random.bool() { 3 } else { self.options.clusters };
            let clusters = self.any_clusters(most);
            let percent = self.random.u8(3..25);
            let millis = |wait| Some(Wait::millis(wait));
            let rule = |fault| Rule { percent, ..Rule::new(fault) };
            let rule = match self.random.u32(0..13) {
                0..4 => rule(Fault::Any),
                4 => Rule { percent: 40, ..rule(Fault::LostReply) },
                5 => Rule { wait: millis(700), percent: 100, ..rule(Fault::Latency) },
                6 => Rule { wait: millis(1_000), ..rule(Fault::Throttle) },
                7 => Rule { wait: millis(300), percent: 60, ..rule(Fault::CloseWatch) },
                8 => Rule { wait: millis(300), percent: 40, ..rule(Fault::BreakWatch) },
                9 => Rule { percent: 50, ..rule(Fault::Gone) },
                10 => rule(Fault::WebhookDown),
                11 if self.options.slow && self.random.u8(..4) == 0 => {
                    let fault = if self.random.bool() { Fault::SilentWatch } else { Fault::HalfOpen };
                    storm.lasts = Some(Duration::from_secs(2));
                    Rule { times: Some(1), percent: 30, ..rule(fault) }
                }
                _ => {
                    storm.dead = self.any_clusters(10);
                    continue;
                }
            };
            storm.weather.push((clusters, rule));
        }
    }

    /// Begins, before the commit.
    pub fn brew(&mut self, storm: &Storm) {
        for (clusters, rule) in &storm.weather {
            clusters.iter().for_each(|cluster| self.stage.faults(cluster).add(rule.clone()));
        }
        storm.dead.iter().for_each(|cluster| self.stage.faults(cluster).set_dead(true));
        if let Some(by) = storm.ahead {
            self.stage.jump(by);
        }
        if storm.full.is_some() {
            self.host.fill_disk(true);
        }
    }

    /// Goes on after the commit, to its end.
    pub fn endure(&mut self, storm: &Storm, aim: &Aim) -> Result<(), Wrong> {
        if let Some(full) = storm.full {
            std::thread::sleep(full);
            self.host.fill_disk(false);
        }
        if let Some((at, by)) = storm.jump {
            std::thread::sleep(at);
            self.host.jump(by, FURTHEST);
        }
        for after in &storm.kills {
            std::thread::sleep(*after);
            self.kill();
            self.host.start();
        }
        if !storm.dead.is_empty() {
            // The dead ones cost the others nothing.
            let all = self.clusters();
            self.stage.notes().changed.extend(all);
            self.settle(aim, &storm.dead, self.patience / 2)
                .map_err(|wrong| format!("{wrong}, with others dead"))?;
        }
        match storm.lasts {
            Some(lasts) => std::thread::sleep(lasts),
            None if !storm.weather.is_empty() && storm.dead.is_empty() => {
                self.settle(aim, &BTreeSet::new(), self.patience * 2)?;
            }
            None => {}
        }
        self.stage.calm();
        Ok(())
    }
}

/// A rule about one verb on one path.
pub fn on(fault: Fault, verb: Verb, path: &str) -> Rule {
    Rule { verbs: vec![verb], path: Some(path.to_owned()), ..Rule::new(fault) }
}
