//! What every cluster should be like, and whether it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::content::{Content, FLEETS, Objects};
use super::stage::quiet;
use super::tap::{Kind, May};
use super::{World, Wrong};

/// A fleet on a cluster.
pub type Place = (&'static str, String);

/// What each cluster runs.
#[derive(Debug, Default, Clone)]
pub struct Model {
    pub running: BTreeMap<Place, Objects>,
    /// Out of the fleet; the objects stay.
    pub left: BTreeSet<Place>,
}

/// What a fleet should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The head is accepted.
    Accepted,
    /// The head has failed, and everything is back.
    Failed,
    /// A few have failed alone.
    Partly,
    /// The head can't be read, or its history was rewritten.
    Still,
    /// The head waits for an approval.
    Held,
    /// The head holds on every cluster that it changes.
    Stuck,
    /// Some clusters, which [`Aim::status`] names, wait for a person; the others run the head.
    PartlyHeld,
    Paused,
}

/// What everything should come to.
#[derive(Debug, Clone)]
pub struct Aim {
    pub goals: BTreeMap<&'static str, Goal>,
    /// Each may be any of these.
    pub running: BTreeMap<Place, Vec<Objects>>,
    pub left: BTreeSet<Place>,
    /// Targets whose status is another than `converged`.
    pub status: BTreeMap<Place, &'static str>,
    /// Objects may differ for a while although the daemon is content: it is to notice.
    pub drift: bool,
}

impl Aim {
    pub fn with(mut self, fleets: &[&'static str], goal: Goal) -> Self {
        self.goals.extend(fleets.iter().map(|fleet| (*fleet, goal)));
        self
    }
}

impl World {
    /// Everything runs what a content says.
    pub fn aim_at(&self, content: &Content) -> Aim {
        let mut aim = self.aim_to_stay();
        aim.status.clear();
        for (fleet, _) in FLEETS {
            let members: BTreeSet<&String> = content.members(fleet).map(|(name, _)| name).collect();
            for (name, target) in content.members(fleet) {
                let place = (fleet, name.clone());
                aim.left.remove(&place);
                if target.suspend {
                    aim.status.insert(place, "suspended");
                } else if target.mistake {
                    aim.status.insert(place, "held");
                } else if let Some(objects) = content.objects(fleet, name, &self.past) {
                    aim.running.insert(place, vec![objects]);
                }
            }
            let known = self.model.running.keys().filter(|place| place.0 == fleet);
            aim.left.extend(known.filter(|place| !members.contains(&place.1)).cloned());
        }
        aim
    }

    /// Everything stays as it is.
    pub fn aim_to_stay(&self) -> Aim {
        let running =
            self.model.running.iter().map(|(place, objects)| (place.clone(), vec![objects.clone()]));
        let mut status = BTreeMap::new();
        for (fleet, _) in FLEETS {
            for (name, target) in self.content.members(fleet) {
                let is = if target.suspend { "suspended" } else { "held" };
                if target.suspend || target.mistake {
                    status.insert((fleet, name.clone()), is);
                }
            }
        }
        Aim {
            goals: FLEETS.iter().map(|(fleet, _)| (*fleet, Goal::Accepted)).collect(),
            running: running.collect(),
            left: self.model.left.clone(),
            status,
            drift: false,
        }
    }

    /// From now on the daemon may do what leads to this aim, or to what was there, or to something between.
    pub fn allow(&mut self, aim: &Aim, between: &[Aim]) {
        let mut all: BTreeMap<Place, Vec<Objects>> = BTreeMap::new();
        for (place, objects) in &self.model.running {
            all.entry(place.clone()).or_default().push(objects.clone());
        }
        for one in between.iter().chain([aim]) {
            for (place, objects) in &one.running {
                let known = all.entry(place.clone()).or_default();
                known.extend(objects.iter().cloned());
            }
        }
        let mut may: BTreeMap<String, May> = BTreeMap::new();
        for ((fleet, cluster), mut each) in all {
            let still = self.model.left.contains(&(fleet, cluster.clone()));
            if still && aim.left.contains(&(fleet, cluster.clone())) {
                continue;
            }
            if !self.model.running.contains_key(&(fleet, cluster.clone())) {
                each.push(Objects::new());
            }
            let paths: BTreeSet<String> = each.iter().flat_map(|one| one.keys().cloned()).collect();
            let may = may.entry(cluster).or_default();
            for path in paths {
                let values = each.iter().map(|one| one.get(&path).cloned());
                may.entry(path.clone()).or_default().extend(values);
            }
        }
        self.stage.notes().may = may;
    }

    /// Waits until all is as it should be, but for some clusters.
    pub fn settle(&mut self, aim: &Aim, except: &BTreeSet<String>, patience: Duration) -> Result<(), Wrong> {
        let start = Instant::now();
        let clusters = self.clusters();
        self.stage.notes().changed.extend(clusters);
        loop {
            self.nothing_wrong()?;
            if let Some(how) = self.host.ended() {
                return Err(format!("the daemon ended by itself: {how}"));
            }
            let last = match self.is_settled(aim, except) {
                Ok(()) if !quiet(&self.stage, Duration::from_millis(120), Duration::from_secs(2)) => {
                    "it goes on writing".to_owned()
                }
                Ok(()) => match self.is_settled(aim, except) {
                    Ok(()) => return self.nothing_wrong(),
                    Err(why) => why,
                },
                Err(why) => why,
            };
            if start.elapsed() > patience {
                return Err(format!("not settled within {patience:?}: {last}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn clusters(&self) -> Vec<String> {
        (1..=self.options.clusters).map(|number| format!("edge-{number:03}")).collect()
    }

    pub fn nothing_wrong(&self) -> Result<(), Wrong> {
        let notes = self.stage.notes();
        if notes.wrong.is_empty() { Ok(()) } else { Err(notes.wrong.join("\n")) }
    }

    fn is_settled(&self, aim: &Aim, except: &BTreeSet<String>) -> Result<(), String> {
        if except.is_empty() {
            let status = self.host.status()?;
            self.says_so(&status, aim)?;
        }
        self.clusters_are(aim, except)
    }

    /// Whether the clusters hold what they should.
    pub fn clusters_are(&self, aim: &Aim, except: &BTreeSet<String>) -> Result<(), String> {
        let look: Vec<String> = self.stage.notes().changed.iter().cloned().collect();
        for cluster in look.iter().filter(|cluster| !except.contains(*cluster)) {
            self.stage.notes().changed.remove(cluster);
            if let Err(why) = self.cluster_is(aim, cluster) {
                self.stage.notes().changed.insert(cluster.clone());
                return Err(why);
            }
        }
        Ok(())
    }

    fn cluster_is(&self, aim: &Aim, cluster: &str) -> Result<(), String> {
        let found = self.stage.look(cluster);
        let mut ours = found.ours;
        for (fleet, _) in FLEETS {
            let Some(alternatives) = aim.running.get(&(fleet, cluster.to_owned())) else { continue };
            let fits = |one: &&Objects| one.iter().all(|(path, value)| ours.get(path) == Some(value));
            // The one with most in it: another may be a part of it.
            let Some(one) = alternatives.iter().filter(fits).max_by_key(|one| one.len()) else {
                let wanted = alternatives.last().cloned().unwrap_or_default();
                let differs = wanted.iter().find(|(path, value)| ours.get(*path) != Some(value));
                let (path, value) = differs.map_or(("", &Value::Null), |(path, value)| (path, value));
                let is = ours.get(path).map_or("gone".to_owned(), ToString::to_string);
                return Err(format!("{cluster}, {fleet}: {path} is {is}, not {value}"));
            };
            let paths: Vec<String> = one.keys().cloned().collect();
            paths.iter().for_each(|path| drop(ours.remove(path)));
        }
        if let Some((path, _)) = ours.iter().next() {
            return Err(format!("{cluster}: {path} is still there, as ours"));
        }
        let foreign = self.stage.foreign(cluster);
        if found.others != foreign {
            return Err(format!(
                "{cluster}: what is not ours was touched: {:?}, not {foreign:?}",
                found.others
            ));
        }
        Ok(())
    }

    /// Whether the daemon says that it is there.
    fn says_so(&self, status: &Value, aim: &Aim) -> Result<(), String> {
        let head = self.head();
        if status["repository"]["observed"] != head {
            return Err(format!("observed {}, not {head}", status["repository"]["observed"]));
        }
        let fleets = status["fleets"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (name, goal) in &aim.goals {
            let fleet = fleets.iter().find(|fleet| fleet["name"] == *name).unwrap_or(&Value::Null);
            let (state, accepted) = (fleet["state"].as_str().unwrap_or_default(), &fleet["accepted"]);
            let observed = &fleet["observed"];
            let fits = match goal {
                Goal::Accepted if waits_for_the_suspended(name, status) => observed == head,
                Goal::Accepted => accepted == head && state != "rollingOut" && state != "returning",
                Goal::Failed => observed == head && accepted != head && state == "failed",
                Goal::Partly => {
                    observed == head && !matches!(state, "rollingOut" | "returning" | "unknown" | "")
                }
                Goal::Held => {
                    let needs = fleet["needs"].as_array().map(Vec::as_slice).unwrap_or_default();
                    accepted != head && needs.iter().any(|need| need == "approve")
                }
                Goal::Still => accepted != head && matches!(state, "failed" | "held"),
                Goal::Stuck | Goal::PartlyHeld => observed == head && accepted != head,
                Goal::Paused => accepted != head && state == "paused",
            };
            if !fits {
                let reason = &fleet["reason"];
                return Err(format!(
                    "{name} is {state}, accepted {accepted}, wants {goal:?} of {head}: {reason}"
                ));
            }
        }
        self.targets_say_so(status, aim)
    }

    fn targets_say_so(&self, status: &Value, aim: &Aim) -> Result<(), String> {
        let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut seen = BTreeSet::new();
        for target in targets {
            let (fleet, name) = (&target["fleet"], target["name"].as_str().unwrap_or_default());
            let Some((fleet, _)) = FLEETS.iter().find(|(known, _)| fleet == *known) else { continue };
            let place = (*fleet, name.to_owned());
            let is = target["status"].as_str().unwrap_or_default();
            let goal = aim.goals.get(fleet).copied().unwrap_or(Goal::Accepted);
            let fits = match (goal, aim.status.get(&place)) {
                (_, Some(wanted)) if is == *wanted => true,
                (Goal::PartlyHeld, wanted) => is == wanted.copied().unwrap_or("converged"),
                (Goal::Accepted, None) => is == "converged" && !aim.left.contains(&place),
                (Goal::Accepted, Some(_)) => false,
                (Goal::Failed | Goal::Partly, _) => {
                    matches!(is, "converged" | "quarantined" | "suspended" | "held")
                }
                (Goal::Stuck, _) => {
                    let pinned = self.content.targets.get(name).is_some_and(|target| target.pin.is_some());
                    is == if pinned { "converged" } else { "held" }
                }
                (Goal::Still | Goal::Held | Goal::Paused, _) => {
                    !matches!(is, "progressing" | "returning" | "unknown" | "offline")
                }
            };
            if !fits {
                return Err(format!("{name} in {fleet} is {is}: {}", target["reason"]));
            }
            seen.insert(place);
        }
        let missing = aim.running.keys().find(|place| !aim.left.contains(*place) && !seen.contains(*place));
        missing.map_or(Ok(()), |(fleet, name)| Err(format!("{name} in {fleet} is not in the status")))
    }

    /// The step is over: what is there is what counts from now on.
    pub fn arrive(&mut self, aim: &Aim) -> Result<(), Wrong> {
        let mut running = BTreeMap::new();
        for (place, alternatives) in &aim.running {
            let found = self.stage.look(&place.1).ours;
            let fits = |one: &&Objects| one.iter().all(|(path, value)| found.get(path) == Some(value));
            let one = alternatives.iter().filter(fits).max_by_key(|one| one.len());
            let one = one.ok_or_else(|| format!("{place:?} changed again after all was settled"))?;
            running.insert(place.clone(), one.clone());
        }
        self.model = Model { running, left: aim.left.clone() };
        let now = self.aim_to_stay();
        self.allow(&now, &[]);
        let mut notes = self.stage.notes();
        for write in notes.writes.drain(..) {
            match write.kind {
                Kind::Apply => self.done.applies += 1,
                Kind::Delete => self.done.deletes += 1,
                Kind::Ledger => self.done.ledgers += 1,
                Kind::Other => {}
            }
        }
        drop(notes);
        self.nothing_wrong()
    }

    /// Rule 4, where nothing disturbed: one apply for each object that changed, one delete for each that was dropped,
    /// two ledger writes for each assignment, and nothing else.
    pub fn cost_no_more(&self, aim: &Aim) -> Result<(), Wrong> {
        let mut wanted: BTreeMap<(String, Kind, String), usize> = BTreeMap::new();
        for (place, alternatives) in &aim.running {
            let (Some(new), Some(old)) = (alternatives.first(), self.model.running.get(place)) else {
                return Ok(());
            };
            if self.model.left.contains(place) != aim.left.contains(place) {
                return Ok(());
            }
            let ledger = format!("/api/v1/namespaces/fairlead-system/configmaps/fairlead-soak.{}", place.0);
            if new != old {
                wanted.insert((place.1.clone(), Kind::Ledger, ledger), 2);
            }
            for (path, _) in new.iter().filter(|(path, value)| old.get(*path) != Some(value)) {
                wanted.insert((place.1.clone(), Kind::Apply, path.clone()), 1);
            }
            for path in old.keys().filter(|path| !new.contains_key(*path)) {
                wanted.insert((place.1.clone(), Kind::Delete, path.clone()), 1);
            }
        }
        let mut found: BTreeMap<(String, Kind, String), usize> = BTreeMap::new();
        for write in &self.stage.notes().writes {
            *found.entry((write.cluster.clone(), write.kind, write.path.clone())).or_default() += 1;
        }
        if found == wanted {
            return Ok(());
        }
        let more = found.iter().filter(|(what, count)| wanted.get(*what) != Some(count)).take(8);
        let less = wanted.iter().filter(|(what, _)| !found.contains_key(*what)).take(8);
        Err(format!(
            "it took other writes than needed; found: {:?}; missing: {:?}",
            more.collect::<Vec<_>>(),
            less.collect::<Vec<_>>()
        ))
    }

    /// Rule 3: it cost nothing.
    pub fn cost_nothing(&self, what: &str) -> Result<(), Wrong> {
        let notes = self.stage.notes();
        if notes.writes.is_empty() {
            return Ok(());
        }
        let some: Vec<_> =
            notes.writes.iter().take(8).map(|one| (&one.cluster, one.kind, &one.path)).collect();
        Err(format!("{what} cost {} writes: {some:?}", notes.writes.len()))
    }
}

/// Whether a commit changes nothing but suspended clusters, as far as the daemon knows: nobody has proven it good. After
/// a lost store it does not know that such a cluster was left behind before.
fn waits_for_the_suspended(fleet: &str, status: &Value) -> bool {
    let list = |name: &str| status[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let is =
        |fleet: &Value| fleet["reason"].as_str().is_some_and(|r| r.starts_with("no cluster has converged"));
    let waits = list("fleets").iter().any(|one| one["name"] == fleet && is(one));
    let targets = list("targets").iter().filter(|target| target["fleet"] == fleet);
    waits
        && targets
            .clone()
            .all(|target| matches!(target["status"].as_str(), Some("converged" | "suspended" | "held")))
}
