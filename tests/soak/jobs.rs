//! Jobs that their time to live removes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::content::job_path;
use super::{World, Wrong};

impl World {
    /// A Job that completed and is gone is done: it runs once on each cluster, whatever comes after it.
    pub fn job_with_ttl(&mut self) -> Result<(), Wrong> {
        let good = self.content.clone();
        let odd = |target: &super::content::Target| target.pin.is_some() || target.suspend || target.mistake;
        if good.targets.values().any(odd) {
            return Ok(());
        }
        let mut next = good.clone();
        let number = self.next_serial();
        next.profiles.get_mut("app").unwrap().job = Some(number);
        self.say(format!("a Job that is removed when it is done, once-{number}"));
        let aim = self.aim_to_stay();
        self.stage.notes().once.insert(job_path(number), BTreeSet::new());
        self.push(next, "A Job", false);
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.ran(number, good.targets.len())?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&aim, &BTreeSet::new(), self.patience)?;
        }
        // Long enough for one that was taken for missing to come again.
        std::thread::sleep(Duration::from_millis(500));
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.say("  dropped".to_owned());
        self.push(good, "The Job is done", true);
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.arrive(&aim)
    }

    /// Waits until the Job has run everywhere and is gone.
    fn ran(&mut self, number: u32, clusters: usize) -> Result<(), Wrong> {
        let (start, path) = (Instant::now(), job_path(number));
        loop {
            self.nothing_wrong()?;
            let ran = self.stage.notes().once.get(&path).map_or(0, BTreeSet::len);
            let there = self.clusters().iter().filter(|cluster| self.stage.has(cluster, &path)).count();
            if ran == clusters && there == 0 {
                return Ok(());
            }
            if start.elapsed() > self.patience {
                return Err(format!("the Job ran on {ran} of {clusters}, and is still there on {there}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
