//! What other writers do to the clusters beside us, and objects and kinds that get stuck.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fairlead_sim::faults::{Fault, Rule, Verb};
use serde_json::json;

use super::aim::Goal;
use super::content::{Content, map_path};
use super::stage::list;
use super::tap::read_ledger;
use super::{World, Wrong};

impl World {
    /// Clusters of the fleet `retail` that take part in commits as all do.
    fn plain_retail(&mut self, most: usize) -> BTreeSet<String> {
        let plain = |(_, target): &(&String, &super::content::Target)| {
            !target.suspend && !target.mistake && target.pin.is_none() && target.segment == "retail"
        };
        let names: Vec<String> =
            self.content.targets.iter().filter(plain).map(|(name, _)| name.clone()).collect();
        self.some(&names, most).into_iter().collect()
    }

    /// A dropped object with a finalizer that nobody removes fails no commit; it goes when the finalizer goes.
    pub fn stuck_finalizer(&mut self) -> Result<(), Wrong> {
        let maps: Vec<String> = self.content.profiles["app"].maps.keys().cloned().collect();
        let clusters = self.plain_retail(3);
        let Some(map) = self.some(&maps, 1).pop() else { return Ok(()) };
        if maps.len() < 6 || clusters.is_empty() {
            return Ok(());
        }
        let (path, before) = (map_path("shop", &map), self.aim_to_stay());
        let finalizer = json!({"metadata": {"finalizers": ["example.com/keep"]}});
        for cluster in &clusters {
            self.stage.meddle(cluster, &path, &finalizer);
        }
        let mut next = self.content.clone();
        let what = self.new_values(&mut next);
        next.profiles.get_mut("app").unwrap().maps.remove(&map);
        if !self.is_plain(&next) {
            return self.free(&clusters, &path);
        }
        self.say(format!("drops {map}, which has a finalizer on {}; {what}", list(&clusters)));
        let goal = self.aim_at(&next);
        let mut stuck = goal.clone();
        for cluster in &clusters {
            let place = ("retail", cluster.clone());
            let old = before.running[&place][0][&path].clone();
            stuck.running.get_mut(&place).unwrap()[0].insert(path.clone(), old);
        }
        self.allow(&goal, &[]);
        self.push(next, &what, true);
        self.settle(&stuck, &BTreeSet::new(), self.patience)?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&stuck, &BTreeSet::new(), self.patience)?;
        }
        self.say("  the finalizer is removed".to_owned());
        self.free(&clusters, &path)?;
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.forgotten(&clusters, &map)?;
        self.arrive(&goal)
    }

    /// Waits until the ledgers have forgotten an object: that costs a write, which is none of the next step.
    fn forgotten(&self, clusters: &BTreeSet<String>, map: &str) -> Result<(), Wrong> {
        let (start, name) = (Instant::now(), format!("\"name\":\"{map}\""));
        let knows = |cluster: &&String| {
            let ledgers = self.stage.ledgers(cluster);
            ledgers.iter().filter_map(read_ledger).any(|ledger| ledger["objects"].to_string().contains(&name))
        };
        while let Some(cluster) = clusters.iter().find(knows) {
            if start.elapsed() > self.patience {
                return Err(format!("{cluster}: the ledger still has {map}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn free(&mut self, clusters: &BTreeSet<String>, path: &str) -> Result<(), Wrong> {
        for cluster in clusters {
            self.stage.meddle(cluster, path, &json!({"metadata": {"finalizers": null}}));
        }
        self.stage.notes().changed.extend(clusters.iter().cloned());
        Ok(())
    }

    /// An object of a commit was there before, as another manager's: that cluster waits for a person, the others don't,
    /// and an adoption ends it.
    pub fn conflict(&mut self) -> Result<(), Wrong> {
        let known = &self.content.profiles["app"].maps;
        let new: Vec<String> =
            (0..24).map(|n| format!("cfg-{n:02}")).filter(|name| !known.contains_key(name)).collect();
        let clusters = self.plain_retail(2);
        let Some(map) = self.some(&new, 1).pop() else { return Ok(()) };
        let mut next = self.content.clone();
        let serial = self.next_serial();
        next.profiles.get_mut("app").unwrap().maps.insert(map.clone(), serial);
        if clusters.is_empty() || !self.is_plain(&next) {
            return Ok(());
        }
        let path = map_path("shop", &map);
        for cluster in &clusters {
            if !self.stage.claim(cluster, &map) {
                return Err(format!("{cluster}: {map} can't be made by somebody else"));
            }
        }
        self.say(format!("adds {map}, which is somebody else's on {}", list(&clusters)));
        let goal = self.aim_at(&next);
        let mut held = goal.clone().with(&["retail"], Goal::PartlyHeld);
        for cluster in &clusters {
            let place = ("retail", cluster.clone());
            held.running.insert(place.clone(), self.aim_to_stay().running[&place].clone());
            held.status.insert(place, "held");
        }
        self.allow(&goal, &[]);
        self.push(next, "A conflict", true);
        self.settle(&held, &BTreeSet::new(), self.patience)?;
        if self.random.bool() {
            self.say("  killed".to_owned());
            self.kill();
            self.host.start();
            self.settle(&held, &BTreeSet::new(), self.patience)?;
        }
        self.say("  adopted".to_owned());
        for cluster in &clusters {
            self.stage.forget_foreign(cluster, &path);
            self.host.tell(&format!("targets/{cluster}/adopt"))?;
        }
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// kubectl applies what Git has: both own it. What a later commit drops or changes there goes all the same.
    pub fn co_owner(&mut self) -> Result<(), Wrong> {
        let clusters = self.plain_retail(3);
        let maps: Vec<String> = self.content.profiles["app"].maps.keys().cloned().collect();
        let some = self.some(&maps, 3);
        for cluster in &clusters {
            let place = ("retail", cluster.clone());
            for map in &some {
                let path = map_path("shop", map);
                let Some(data) = self.model.running[&place].get(&path).cloned() else { continue };
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": map, "namespace": "shop"}, "data": data});
                self.stage.apply_as(cluster, "kubectl", &path, &object);
            }
        }
        let mut next = self.content.clone();
        let serial = self.next_serial();
        let maps = &mut next.profiles.get_mut("app").unwrap().maps;
        maps.extend(some.iter().map(|name| (name.clone(), serial)));
        self.say(format!("v{serial} of {some:?}, which kubectl applied too on {}", list(&clusters)));
        if !self.is_plain(&next) {
            return Ok(());
        }
        let goal = self.aim_at(&next);
        self.allow(&goal, &[]);
        self.push(next, "Beside kubectl", true);
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }

    /// The server can't list one kind: all others are changed and healed.
    pub fn unreadable_kind(&mut self) -> Result<(), Wrong> {
        self.without_deployments("can't be listed", &[Verb::List, Verb::Watch], Some(429), None)
    }

    /// Nothing of one kind can be read or written, for its conversion webhook is dead: all others are changed and healed.
    pub fn dead_conversion(&mut self) -> Result<(), Wrong> {
        let why = "conversion webhook for apps/v2, Kind=Deployment failed: Post \"https://127.0.0.1:1/convert\": dial \
                   tcp 127.0.0.1:1: connect: connection refused";
        self.without_deployments("can't be converted", &[], Some(500), Some(why))
    }

    fn without_deployments(
        &mut self,
        what: &str,
        verbs: &[Verb],
        code: Option<u16>,
        why: Option<&str>,
    ) -> Result<(), Wrong> {
        let clusters = self.plain_retail(3);
        let mut next: Content = self.content.clone();
        let new = self.new_values(&mut next);
        if clusters.is_empty() || !self.is_plain(&next) {
            return Ok(());
        }
        self.say(format!("Deployments {what} on {}; killed; {new}", list(&clusters)));
        self.kill();
        for cluster in &clusters {
            for path in ["*/deployments", "*/deployments/*"] {
                let (verbs, message) = (verbs.to_vec(), why.map(str::to_owned));
                let path = Some(path.to_owned());
                let rule = Rule { verbs, path, code, message, ..Rule::new(Fault::Error) };
                self.stage.faults(cluster).add(rule);
            }
        }
        self.host.start();
        let goal = self.aim_at(&next);
        self.allow(&goal, &[]);
        self.push(next, &new, true);
        let start = Instant::now();
        let all = self.clusters();
        self.stage.notes().changed.extend(all);
        while let Err(why) = self.clusters_are(&goal, &BTreeSet::new()) {
            self.nothing_wrong()?;
            if start.elapsed() > self.patience {
                return Err(format!("one kind that {what} stops others: {why}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.say("  Deployments are well again".to_owned());
        self.stage.calm();
        self.settle(&goal, &BTreeSet::new(), self.patience)?;
        self.arrive(&goal)
    }
}
