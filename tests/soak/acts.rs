//! What people do to the repository, the clusters and the daemon.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::content::{Content, Objects, WEB};
use super::stage::list;
use super::{World, Wrong};

/// Most deletions in one release that need no approval, of so many objects: `maxDeletions` is 50 % unless set, and a
/// percentage allows at least 5.
pub fn budget(objects: usize) -> usize {
    (objects / 2).max(5)
}

impl World {
    /// Does one thing, and sees to it that all comes right.
    pub fn step(&mut self) -> Result<(), Wrong> {
        match self.random.u32(0..147) {
            0..18 => self.change(Self::new_values),
            18..26 => self.change(Self::new_image),
            26..36 => self.change(Self::add_or_drop),
            36..46 => self.change(Self::new_variables),
            46..54 => self.change(Self::new_pins),
            54..60 => self.change(Self::suspensions),
            60..66 => self.change(Self::come_and_go),
            66..70 => self.change(Self::mistakes),
            70..77 => self.readme(),
            77..84 => self.revert(),
            84..89 => self.restore(),
            89..97 => self.burst(),
            97..105 => self.bad_commit(),
            105..110 => self.broken_commit(),
            110..117 => self.drift(),
            117..122 => self.restart(),
            122 => self.idle(),
            123 => self.lose(),
            124 | 125 => self.big_drop(),
            126 => self.pause(),
            127 => self.stop(),
            128 => self.rewrite(),
            129 => self.refuse(),
            130..133 => self.stuck_finalizer(),
            133..136 => self.conflict(),
            136..139 => self.co_owner(),
            139..141 => self.unreadable_kind(),
            141..144 => self.dead_conversion(),
            _ => self.job_with_ttl(),
        }
    }

    pub fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Changes the content in some way that is good for all, in whatever weather.
    fn change(&mut self, edit: fn(&mut Self, &mut Content) -> String) -> Result<(), Wrong> {
        let mut next = self.content.clone();
        let what = edit(self, &mut next);
        if next == self.content || !self.is_plain(&next) {
            return Ok(());
        }
        let storm = self.storm();
        self.say(format!("{what}{}", storm.text()));
        let aim = self.aim_at(&next);
        self.allow(&aim, &[]);
        self.brew(&storm);
        self.push(next, &what, true);
        let pushed = Instant::now();
        self.endure(&storm, &aim)?;
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        if storm.is_calm() {
            self.done.settled.add(pushed.elapsed());
            self.cost_no_more(&aim)?;
        }
        self.arrive(&aim)
    }

    /// Whether a content does nothing that a person must allow, or that this model knows nothing of.
    pub fn is_plain(&self, next: &Content) -> bool {
        let aim = self.aim_at(next);
        let within = aim.running.iter().all(|(place, each)| {
            let (Some(old), Some(new)) = (self.model.running.get(place), each.first()) else { return true };
            old.keys().filter(|path| !new.contains_key(*path)).count() <= budget(old.len())
        });
        let odd =
            |name: &String| next.targets.get(name).is_none_or(|target| target.suspend || target.mistake);
        let moved =
            |name: &&String| self.content.targets.contains_key(*name) != next.targets.contains_key(*name);
        let names: BTreeSet<&String> = self.content.targets.keys().chain(next.targets.keys()).collect();
        let settled = names.iter().filter(|name| moved(name)).all(|name| {
            let was = self.content.targets.get(*name).is_none_or(|target| !target.suspend && !target.mistake);
            was && (!odd(name) || !next.targets.contains_key(*name))
        });
        // A cluster that is let go is caught up with by way of what was accepted: not worked out here.
        let odd_before = |name: &&&String| {
            self.content.targets.get(**name).is_some_and(|target| target.suspend || target.mistake)
        };
        let both = names
            .iter()
            .filter(odd_before)
            .all(|name| next.targets.get(*name).is_some_and(|target| !(target.suspend && target.mistake)));
        within && settled && both
    }

    pub fn new_values(&mut self, next: &mut Content) -> String {
        let profile = if self.random.u8(..4) == 0 { "base" } else { "app" };
        let serial = self.next_serial();
        let maps = &mut next.profiles.get_mut(profile).unwrap().maps;
        let names: Vec<String> = maps.keys().cloned().collect();
        let some = self.some(&names, 4);
        maps.extend(some.iter().map(|name| (name.clone(), serial)));
        format!("v{serial} of {profile} {some:?}")
    }

    fn new_image(&mut self, next: &mut Content) -> String {
        let serial = self.next_serial();
        next.profiles.get_mut("app").unwrap().image = Some(serial);
        format!("image {serial}")
    }

    fn add_or_drop(&mut self, next: &mut Content) -> String {
        let serial = self.next_serial();
        let maps = &mut next.profiles.get_mut("app").unwrap().maps;
        let names: Vec<String> = maps.keys().cloned().collect();
        let mut text = String::new();
        let adds = names.len() <= 6 || (names.len() < 12 && self.random.bool());
        if adds {
            let new: Vec<String> =
                (0..24).map(|n| format!("cfg-{n:02}")).filter(|n| !maps.contains_key(n)).collect();
            let some = self.some(&new, 2);
            maps.extend(some.iter().map(|name| (name.clone(), serial)));
            text += &format!("adds {some:?} at v{serial} ");
        }
        if !adds || (names.len() > 6 && self.random.bool()) {
            let some = self.some(&names, 2);
            maps.retain(|name, _| !some.contains(name));
            text += &format!("drops {some:?}");
        }
        text
    }

    fn new_variables(&mut self, next: &mut Content) -> String {
        let names: Vec<String> = next.targets.keys().cloned().collect();
        let some = self.some(&names, 5);
        for name in &some {
            let (note, replicas) = (self.next_serial(), self.random.u32(1..6));
            let target = next.targets.get_mut(name).unwrap();
            if self.random.bool() {
                target.note = Some(note);
            } else {
                target.replicas = replicas;
            }
        }
        format!("variables of {}", list(&some.into_iter().collect()))
    }

    fn new_pins(&mut self, next: &mut Content) -> String {
        let names: Vec<String> = next.targets.keys().cloned().collect();
        let pinned: Vec<String> =
            names.iter().filter(|name| next.targets[*name].pin.is_some()).cloned().collect();
        if pinned.len() > 4 || (!pinned.is_empty() && self.random.bool()) {
            let some = self.some(&pinned, 3);
            some.iter().for_each(|name| next.targets.get_mut(name).unwrap().pin = None);
            return format!("unpins {}", list(&some.into_iter().collect()));
        }
        let good: Vec<usize> = (0..self.commits.len()).rev().filter(|at| self.good[*at]).take(8).collect();
        let pin = good[self.random.usize(..good.len())];
        let some = self.some(&names, 3);
        some.iter().for_each(|name| next.targets.get_mut(name).unwrap().pin = Some(pin));
        format!("pins {} to commit {pin}", list(&some.into_iter().collect()))
    }

    fn suspensions(&mut self, next: &mut Content) -> String {
        let names: Vec<String> = next.targets.keys().cloned().collect();
        let still: Vec<String> = names.iter().filter(|name| next.targets[*name].suspend).cloned().collect();
        let (some, suspend) = match still.is_empty() {
            false if still.len() > 3 || self.random.bool() => (self.some(&still, 4), false),
            _ => (self.some(&names, 2), true),
        };
        some.iter().for_each(|name| next.targets.get_mut(name).unwrap().suspend = suspend);
        let also = if self.random.bool() { self.new_values(next) } else { String::new() };
        format!("{} {} {also}", if suspend { "suspends" } else { "wakes" }, list(&some.into_iter().collect()))
    }

    fn come_and_go(&mut self, next: &mut Content) -> String {
        let away: Vec<String> =
            self.clusters().into_iter().filter(|name| !next.targets.contains_key(name)).collect();
        if !away.is_empty() && (away.len() > 5 || self.random.bool()) {
            let some = self.some(&away, 3);
            let all = Content::first(self.options.clusters);
            for name in &some {
                next.targets.insert(name.clone(), all.targets[name].clone());
            }
            return format!("{} come back", list(&some.into_iter().collect()));
        }
        let names: Vec<String> = next.targets.keys().cloned().collect();
        let some = self.some(&names, 2);
        for name in &some {
            next.targets.remove(name);
        }
        format!("{} leave", list(&some.into_iter().collect()))
    }

    fn mistakes(&mut self, next: &mut Content) -> String {
        let names: Vec<String> = next.targets.keys().cloned().collect();
        let wrong: Vec<String> = names.iter().filter(|name| next.targets[*name].mistake).cloned().collect();
        let (some, mistake) = match wrong.is_empty() {
            false => (wrong, false),
            true => (self.some(&names, 3), true),
        };
        some.iter().for_each(|name| next.targets.get_mut(name).unwrap().mistake = mistake);
        let also = if self.random.bool() { self.new_values(next) } else { String::new() };
        let what = if mistake { "mistakes in" } else { "mends" };
        format!("{what} {} {also}", list(&some.into_iter().collect()))
    }

    /// Rule 3: a commit that changes nothing costs nothing, whatever happens meanwhile.
    pub fn readme(&mut self) -> Result<(), Wrong> {
        let mut next = self.content.clone();
        next.readme = self.next_serial();
        let storm = self.storm();
        self.say(format!("README{}", storm.text()));
        let aim = self.aim_to_stay();
        self.brew(&storm);
        self.push(next, "README", true);
        self.endure(&storm, &aim)?;
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a commit that changes nothing")?;
        self.arrive(&aim)
    }

    /// `git revert` of the head.
    fn revert(&mut self) -> Result<(), Wrong> {
        let Some(before) = self.past.len().checked_sub(2) else { return Ok(()) };
        let next = self.past[before].clone();
        if !self.good[before] || !self.is_plain(&next) || next == self.content {
            return Ok(());
        }
        let storm = self.storm();
        self.say(format!("git revert HEAD{}", storm.text()));
        let aim = self.aim_at(&next);
        self.allow(&aim, &[]);
        self.brew(&storm);
        let head = self.head().to_owned();
        let commit = self.repo.revert(&head);
        self.pushed(next, &commit, true);
        self.endure(&storm, &aim)?;
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        if storm.is_calm() {
            self.cost_no_more(&aim)?;
        }
        self.arrive(&aim)
    }

    /// A commit that brings back what an older one had.
    fn restore(&mut self) -> Result<(), Wrong> {
        let good: Vec<usize> =
            (0..self.commits.len()).rev().filter(|at| self.good[*at]).skip(1).take(10).collect();
        if good.is_empty() {
            return Ok(());
        }
        let at = good[self.random.usize(..good.len())];
        let next = self.past[at].clone();
        if !self.is_plain(&next) || next == self.content {
            return Ok(());
        }
        let storm = self.storm();
        self.say(format!("brings back commit {at}{}", storm.text()));
        let aim = self.aim_at(&next);
        self.allow(&aim, &[]);
        self.brew(&storm);
        self.push(next, "Restore", true);
        self.endure(&storm, &aim)?;
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        if storm.is_calm() {
            self.cost_no_more(&aim)?;
        }
        self.arrive(&aim)
    }

    /// Rule 5: commits come faster than clusters follow; the last one wins.
    fn burst(&mut self) -> Result<(), Wrong> {
        let storm = self.storm();
        let count = self.random.usize(2..=4);
        self.say(format!("{count} commits in a row{}", storm.text()));
        let edits: [fn(&mut Self, &mut Content) -> String; 4] =
            [Self::new_values, Self::new_image, Self::add_or_drop, Self::new_variables];
        let mut steps = Vec::new();
        let mut next = self.content.clone();
        for _ in 0..count {
            let edit = edits[self.random.usize(..edits.len())];
            let what = edit(self, &mut next);
            let pause = Duration::from_millis(self.random.u64(0..500));
            steps.push((next.clone(), what, pause));
        }
        if !steps.iter().all(|(next, ..)| self.is_plain(next)) {
            return Ok(());
        }
        let mut aims: Vec<_> = steps.iter().map(|(next, ..)| self.aim_at(next)).collect();
        let Some(aim) = aims.pop() else { return Ok(()) };
        self.allow(&aim, &aims);
        self.brew(&storm);
        for (next, what, pause) in steps {
            self.say(format!("  {what}"));
            self.push(next, &what, true);
            std::thread::sleep(pause);
        }
        self.endure(&storm, &aim)?;
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.arrive(&aim)
    }

    /// Others change and delete what is ours, and make what is not.
    pub fn drift(&mut self) -> Result<(), Wrong> {
        let places: Vec<(&'static str, String)> = self.model.running.keys().cloned().collect();
        let some = self.some(&places, 8);
        let mut aim = self.aim_to_stay();
        aim.drift = true;
        self.say("others meddle".to_owned());
        for place in some {
            let target = self.content.targets.get(&place.1);
            if self.model.left.contains(&place) || target.is_none_or(|target| target.suspend) {
                continue;
            }
            let objects: &Objects = &self.model.running[&place];
            let paths: Vec<String> =
                objects.keys().filter(|path| path.matches('/').count() > 4).cloned().collect();
            let Some(path) = self.some(&paths, 1).pop() else { continue };
            let how = self.random.u32(0..3);
            let done = match how {
                0 => self.stage.delete(&place.1, &path),
                _ if path == WEB => self.stage.meddle(&place.1, &path, &json!({"spec": {"replicas": 9}})),
                1 => self.stage.meddle(&place.1, &path, &json!({"data": {"value": "theirs"}})),
                _ => self.stage.meddle(&place.1, &path, &json!({"data": {"value": null}})),
            };
            self.say(format!("  {} {path}: {how}, {done}", place.1));
        }
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.arrive(&aim)
    }

    /// Rule 3: a restart costs no write.
    pub fn restart(&mut self) -> Result<(), Wrong> {
        let kill = self.random.bool();
        self.say(format!("restart, {}", if kill { "killed" } else { "in order" }));
        if kill {
            self.kill();
        } else {
            self.host.daemon.stop();
        }
        let drift = self.random.u8(..4) == 0;
        self.host.start();
        let aim = self.aim_to_stay();
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a restart")?;
        if drift { self.drift() } else { Ok(()) }
    }

    fn idle(&mut self) -> Result<(), Wrong> {
        self.say("idle".to_owned());
        std::thread::sleep(Duration::from_millis(1_500));
        self.cost_nothing("idling")?;
        let aim = self.aim_to_stay();
        self.settle(&aim, &BTreeSet::new(), self.patience)
    }

    /// What is in the state folder is lost or damaged while the daemon is away.
    fn lose(&mut self) -> Result<(), Wrong> {
        self.kill();
        let store = self.random.bool();
        if store {
            self.host.lose_store();
        } else {
            self.host.damage_mirror();
        }
        self.say(format!(
            "the {} is {}",
            if store { "store" } else { "mirror" },
            if store { "lost" } else { "damaged" }
        ));
        self.host.start();
        let aim = self.aim_to_stay();
        self.settle(&aim, &BTreeSet::new(), self.patience)?;
        self.cost_nothing("a loss in the state folder")?;
        self.arrive(&aim)
    }
}
