//! Commits that are bad, and what people do about them.

use std::collections::BTreeSet;
use std::time::Duration;

use fairlead_sim::faults::{Fault, Verb};
use serde_json::json;

use super::acts::budget;
use super::aim::{Aim, Goal};
use super::content::{Bad, Broken, Content, WEB};
use super::stage::list;
use super::storm::on;
use super::{World, Wrong};

impl World {
    /// A commit that some or all clusters can't run: everything comes back, nothing of it is tried again until it is
    /// mended.
    pub fn bad_commit(&mut self) -> Result<(), Wrong> {
        let good = self.content.clone();
        let mut next = good.clone();
        let mut stay = self.aim_to_stay();
        let kind = self.random.usize(0..Bad::ALL.len() + 2);
        let mut spare = BTreeSet::new();
        let what = if let Some(bad) = Bad::ALL.get(kind).copied() {
            let also = self.new_values(&mut next);
            let app = next.profiles.get_mut("app").unwrap();
            app.bad = Some(bad);
            if matches!(bad, Bad::Crash | Bad::UnknownField) {
                app.image = Some(self.serial);
            }
            // Those that don't get it: base takes what is good in it.
            // A few of the lab may fail alone, and there may be no more than a few.
            stay = stay.with(&["retail"], Goal::Failed).with(&["lab"], Goal::Partly);
            let wanted = self.aim_at(&next);
            for (place, objects) in wanted.running.iter().filter(|(place, _)| place.0 == "base") {
                stay.running.insert(place.clone(), objects.clone());
            }
            self.for_pinned(&next, &wanted, &mut stay);
            format!("bad: {bad:?}, {also}")
        } else {
            let plain = |(_, target): &(&String, &super::content::Target)| {
                !target.suspend && !target.mistake && target.pin.is_none()
            };
            let names: Vec<String> =
                next.targets.iter().filter(plain).map(|(name, _)| name.clone()).collect();
            let some = self.some(&names, 2);
            let mut fleets = BTreeSet::new();
            for name in &some {
                let target = next.targets.get_mut(name).unwrap();
                target.poison = true;
                fleets.insert(target.segment);
            }
            for fleet in fleets {
                let goal = if fleet == "lab" { Goal::Partly } else { Goal::Failed };
                stay = stay.with(&[fleet], goal);
            }
            spare = some.into_iter().collect();
            format!("bad: poison for {}", list(&spare))
        };
        let any_live = self.content.targets.iter().any(|(_, target)| !target.suspend && !target.mistake);
        if !any_live {
            return Ok(());
        }
        let storm = self.storm().spare(&spare);
        self.say(format!("{what}{}", storm.text()));
        let wanted = self.aim_at(&next);
        self.allow(&stay, std::slice::from_ref(&wanted));
        self.brew(&storm);
        let bad = self.push(next, "Bad", false);
        self.endure(&storm, &stay)?;
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.arrive(&stay)?;
        self.meanwhile(&stay, &wanted)?;
        self.mend(&good, &bad)
    }

    /// Targets that are pinned don't get what failed, but may get other values.
    fn for_pinned(&self, next: &Content, wanted: &Aim, stay: &mut Aim) {
        for (name, _) in next.targets.iter().filter(|(_, target)| target.pin.is_some()) {
            for (place, objects) in wanted.running.iter().filter(|(place, _)| place.1 == *name) {
                stay.running.insert(place.clone(), objects.clone());
            }
        }
    }

    /// The quarantine holds: a commit that mends nothing starts nothing, nor does a restart.
    fn meanwhile(&mut self, stay: &Aim, wanted: &Aim) -> Result<(), Wrong> {
        for _ in 0..self.random.usize(0..3) {
            let how = self.random.u32(0..3);
            match how {
                0 => {
                    let mut next = self.content.clone();
                    next.readme = self.next_serial();
                    self.say("  README".to_owned());
                    self.push(next, "README", false);
                }
                1 => {
                    self.say("  killed".to_owned());
                    self.kill();
                    self.host.start();
                }
                _ => {
                    self.say("  killed, and the store is lost".to_owned());
                    // Ledgers know the quarantine of those that were reached: others may try it again, and come back.
                    self.allow(stay, std::slice::from_ref(wanted));
                    self.kill();
                    self.host.lose_store();
                    self.host.start();
                }
            }
            let mut stay = stay.clone();
            // What is told of a store that was lost is not what is done.
            stay.goals.values_mut().for_each(|goal| {
                if *goal == Goal::Failed {
                    *goal = Goal::Partly;
                }
            });
            self.settle(&stay, &BTreeSet::new(), self.patience)?;
            std::thread::sleep(Duration::from_millis(200));
            if how < 2 {
                self.cost_nothing("what changes nothing about a failure")?;
            }
            self.arrive(&stay)?;
        }
        Ok(())
    }

    /// A fix, or a revert of what was bad.
    fn mend(&mut self, good: &Content, bad: &str) -> Result<(), Wrong> {
        let mut next = good.clone();
        next.readme = self.content.readme;
        let revert = self.random.bool();
        let what = if revert { "git revert".to_owned() } else { self.new_values(&mut next) };
        self.say(format!("  mended: {what}"));
        let aim = self.aim_at(&next);
        // The values that were good in it are running where nothing failed.
        self.allow(&aim, &[]);
        if revert {
            let commit = self.repo.revert(bad);
            self.pushed(next, &commit, true);
        } else {
            self.push(next, "Mended", true);
        }
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.arrive(&aim)
    }

    /// Rules 1 and 7: what can't be read, or says that nothing should be there, changes nothing.
    pub fn broken_commit(&mut self) -> Result<(), Wrong> {
        let good = self.content.clone();
        let mut next = good.clone();
        let broken = Broken::ALL[self.random.usize(..Broken::ALL.len())];
        next.broken = Some(broken);
        let storm = self.storm();
        self.say(format!("broken: {broken:?}{}", storm.text()));
        let all = ["base", "lab", "retail"];
        let stay = match broken {
            Broken::Fleets | Broken::NoTargets => self.aim_to_stay().with(&all, Goal::Still),
            Broken::EmptyLayer => self.aim_to_stay().with(&Self::app_fleets(), Goal::Stuck),
            Broken::Profile | Broken::Manifest => self.aim_to_stay().with(&Self::app_fleets(), Goal::Still),
        };
        self.brew(&storm);
        self.push(next, "Broken", false);
        self.endure(&storm, &stay)?;
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a commit that can't be used")?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&stay, &BTreeSet::new(), self.patience)?;
            self.cost_nothing("a commit that can't be used, after a restart")?;
        }
        self.say("  mended".to_owned());
        let aim = self.aim_to_stay();
        self.push(good, "Mended", true);
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a commit that brings back what runs")?;
        self.arrive(&aim)
    }

    /// Paused: no change starts, healing goes on; resumed, it is made up for.
    pub fn pause(&mut self) -> Result<(), Wrong> {
        let fleet = ["base", "lab", "retail"][self.random.usize(..3)];
        let mut next = self.content.clone();
        let what = self.new_values(&mut next);
        let what = format!("{what}, {}", self.new_values(&mut next));
        self.say(format!("{fleet} is paused; {what}"));
        self.host.tell(&format!("fleets/{fleet}/pause"))?;
        let goal = self.aim_at(&next);
        let mut stay = goal.clone();
        stay.running.extend(self.aim_to_stay().running.into_iter().filter(|(place, _)| place.0 == fleet));
        let stay = stay.with(&[fleet], Goal::Paused);
        self.allow(&stay, &[]);
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
        }
        self.push(next, &what, true);
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.arrive(&stay)?;
        self.say("  resumed".to_owned());
        self.allow(&goal, &[]);
        self.host.tell(&format!("fleets/{fleet}/resume"))?;
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// An emergency stop: no write at all, over restarts too.
    pub fn stop(&mut self) -> Result<(), Wrong> {
        let mut next = self.content.clone();
        let what = self.new_values(&mut next);
        self.say(format!("stop; {what}"));
        self.host.tell("stop")?;
        let goal = self.aim_at(&next);
        let plain = |target: &super::content::Target| !target.suspend;
        if self.content.targets.get("edge-001").is_some_and(plain) {
            self.stage.meddle("edge-001", WEB, &json!({"spec": {"replicas": 9}}));
        }
        self.push(next, &what, true);
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
        }
        std::thread::sleep(Duration::from_millis(700));
        self.cost_nothing("a fleet that was stopped")?;
        self.allow(&goal, &[]);
        self.host.tell("resume")?;
        self.say("  resumed".to_owned());
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// The branch is rewritten: that holds until a person accepts it.
    pub fn rewrite(&mut self) -> Result<(), Wrong> {
        let last = self.commits.len() - 1;
        let pinned = |content: &Content| content.targets.values().any(|target| target.pin == Some(last));
        if last == 0 || pinned(&self.content) {
            return Ok(());
        }
        let mut next = self.content.clone();
        let what = self.new_values(&mut next);
        self.say(format!("amended and forced: {what}"));
        let (goal, all) = (self.aim_at(&next), ["base", "lab", "retail"]);
        let stay = self.aim_to_stay().with(&all, Goal::Still);
        self.write(&next);
        self.repo.git(&["add", "--all"]);
        self.repo.git(&["commit", "--quiet", "--amend", "-m", "Amended"]);
        self.repo.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
        let commit = self.repo.head();
        // The commit that it replaces is one that nobody can go back to.
        self.good[last] = false;
        self.pushed(next, &commit, true);
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a branch that was rewritten")?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&stay, &BTreeSet::new(), self.patience)?;
            self.cost_nothing("a branch that was rewritten, after a restart")?;
        }
        self.allow(&goal, &[]);
        for fleet in all {
            self.host.tell(&format!("fleets/{fleet}/accept"))?;
        }
        self.say("  accepted".to_owned());
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// One cluster refuses what the others take; when it no longer does, a person tries it again. Another writer
    /// fights meanwhile.
    pub fn refuse(&mut self) -> Result<(), Wrong> {
        let plain = |(_, target): &(&String, &super::content::Target)| {
            !target.suspend && !target.mistake && target.pin.is_none() && target.segment == "retail"
        };
        let names: Vec<String> =
            self.content.targets.iter().filter(plain).map(|(name, _)| name.clone()).collect();
        let Some(name) = self.some(&names, 1).pop() else { return Ok(()) };
        let mut next = self.content.clone();
        let serial = self.next_serial();
        next.profiles.get_mut("app").unwrap().image = Some(serial);
        let fault = if self.random.bool() { Fault::Quota } else { Fault::Admission };
        self.say(format!("image {serial}, which {name} refuses ({fault:?})"));
        let goal = self.aim_at(&next);
        let mut stay = goal.clone().with(&["retail"], Goal::Failed);
        stay.running.extend(self.aim_to_stay().running.into_iter().filter(|(place, _)| place.0 == "retail"));
        self.for_pinned(&next, &goal, &mut stay);
        self.stage.faults(&name).add(on(fault, Verb::Apply, "*/deployments/web"));
        self.allow(&stay, std::slice::from_ref(&goal));
        self.push(next, "Refused in one place", true);
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.arrive(&stay)?;
        self.stage.calm();
        self.say("  tried again".to_owned());
        self.allow(&goal, &[]);
        self.host.tell("fleets/retail/retry")?;
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// Fleets of the profile `app`.
    fn app_fleets() -> [&'static str; 2] {
        ["lab", "retail"]
    }

    /// Nobody is in a state of its own.
    fn all_plain(&self) -> bool {
        self.content.targets.values().all(|target| !target.suspend && !target.mistake && target.pin.is_none())
    }

    /// More deletions than the budget hold until a person allows them, over restarts too.
    pub fn big_drop(&mut self) -> Result<(), Wrong> {
        let mut next = self.content.clone();
        let maps = &mut next.profiles.get_mut("app").unwrap().maps;
        let many = budget(maps.len() + 2) + 1;
        if !self.all_plain() || maps.len() < many {
            return Ok(());
        }
        let names: Vec<String> = maps.keys().take(many).cloned().collect();
        maps.retain(|name, _| !names.contains(name));
        self.say(format!("drops {many} at once"));
        let goal = self.aim_at(&next);
        let stay = self.aim_to_stay().with(&Self::app_fleets(), Goal::Held);
        let approve = self.random.bool();
        // Nothing may be done about it yet.
        self.push(next, "A big clean-up", true);
        self.settle(&stay, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("what waits for an approval")?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&stay, &BTreeSet::new(), self.patience)?;
            self.cost_nothing("what waits for an approval, after a restart")?;
        }
        if !approve {
            let before = self.past[self.past.len() - 2].clone();
            let head = self.head().to_owned();
            let commit = self.repo.revert(&head);
            self.say("  reverted".to_owned());
            self.pushed(before, &commit, true);
            let aim = self.aim_to_stay();
            self.settle(&aim, &BTreeSet::new(), self.patience)?;
            return self.arrive(&aim);
        }
        self.allow(&goal, &[]);
        for fleet in Self::app_fleets() {
            self.host.tell(&format!("fleets/{fleet}/approve"))?;
        }
        self.say("  approved".to_owned());
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
        }
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }
}
