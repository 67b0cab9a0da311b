//! Rules between documents.

use std::collections::{BTreeMap, BTreeSet};

use super::circles;
use crate::catalog::document::{Kind, LocatedFleet, Presence, Profile, Target};
use crate::catalog::explain::shorten;
use crate::catalog::read::{Finding, Subject};
use crate::catalog::variables::{check, undeclared};
use crate::catalog::{Catalog, Shelf};
use crate::model::diagnostic::Diagnostic;
use crate::model::fleet::ProfileUse;
use crate::model::suggest::nearest;

/// All that is wrong between documents.
pub(in crate::catalog) fn cross(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut uses: BTreeMap<&str, Vec<&LocatedFleet>> = BTreeMap::new();
    for fleet in catalog.fleets() {
        findings.extend(profiles(catalog, fleet));
        let mut chosen = 0;
        for target in catalog.targets_of(fleet) {
            chosen += 1;
            uses.entry(target.metadata.name.as_str()).or_default().push(fleet);
            findings.extend(values(catalog, fleet, target));
        }
        for target in
            catalog.targets.aside.iter().filter(|target| fleet.spec.clusters.matches(&target.metadata.labels))
        {
            findings.extend(values(catalog, fleet, target));
        }
        if catalog.fleets.patched.get(fleet.metadata.name.as_str()).is_some_and(|taken| taken.selector) {
            // Whom it chooses is not known for sure.
        } else if chosen == 0 && catalog.targets.is_complete() {
            let message = format!("the label selector ({}) chooses no target", fleet.spec.clusters);
            let place = fleet.places.key("/spec/clusters");
            findings.push(of_fleet(fleet, Diagnostic::warning(place, "selects-nothing", message)));
        } else if catalog.targets.is_complete() {
            findings.extend(idle_waves(catalog, fleet));
        }
    }
    // What a name that is taken twice makes useless is looked at all the same.
    for fleet in &catalog.fleets.aside {
        findings.extend(profiles(catalog, fleet));
        for target in catalog.targets_to_look_at(fleet) {
            findings.extend(values(catalog, fleet, target));
        }
    }
    findings.extend(twice(catalog, &uses));
    findings.extend(order(catalog));
    findings.extend(unused(catalog, &uses));
    findings
}

/// Waves whose label selector takes no target, or none that an earlier one leaves.
fn idle_waves(catalog: &Catalog, fleet: &LocatedFleet) -> Vec<Finding> {
    let selectors: Vec<_> = fleet
        .spec
        .rollout
        .waves
        .iter()
        .map(|w| w.clusters.as_ref().filter(|_| !w.takes_the_rest()))
        .collect();
    let mut taken = vec![false; selectors.len()];
    for target in catalog.targets_of(fleet) {
        let labels = &target.metadata.labels;
        let first = selectors.iter().position(|clusters| clusters.is_some_and(|c| c.matches(labels)));
        if let Some(taken) = first.and_then(|first| taken.get_mut(first)) {
            *taken = true;
        }
    }
    let idle = selectors.iter().zip(taken).enumerate();
    let idle = idle.filter_map(|(n, (clusters, taken))| Some((n, clusters.as_ref().filter(|_| !taken)?)));
    idle.map(|(n, clusters)| {
        let place = fleet.places.key(&format!("/spec/rollout/waves/{n}/clusters"));
        let message = format!("the label selector ({clusters}) takes no target that earlier waves leave");
        of_fleet(fleet, Diagnostic::warning(place, "selects-nothing", message))
    })
    .collect()
}

fn of_fleet(fleet: &LocatedFleet, diagnostic: Diagnostic) -> Finding {
    let subjects = vec![Subject::Document(Kind::Fleet, fleet.metadata.name.to_string())];
    Finding { subjects, diagnostic }
}

/// The profile of a fleet as this commit has it; none if it is another commit's, or not valid.
fn here<'a>(catalog: &'a Catalog, used: &ProfileUse) -> Option<&'a Profile> {
    if used.revision.is_some() { None } else { catalog.profile(&used.name).map(|p| &**p) }
}

/// Profiles that a fleet names but that are not there.
fn profiles(catalog: &Catalog, fleet: &LocatedFleet) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, used) in fleet.spec.profiles.iter().enumerate() {
        let place = fleet.places.value(&format!("/spec/profiles/{n}/name"));
        let presence = catalog.profiles.presence(used.name.as_str());
        let mut diagnostic = match (presence, &used.revision) {
            (Presence::Present | Presence::Broken, _) => continue,
            (_, Some(_)) => {
                let message =
                    format!("this commit has no profile '{}'; the revision must have it", used.name);
                Diagnostic::warning(place, "unknown-profile", message)
            }
            (Presence::Unknown, None) => {
                let message = format!("no profile '{}' was found, but not all could be read", used.name);
                Diagnostic::error(place, "unknown-profile", message)
            }
            (Presence::Absent, None) => {
                Diagnostic::error(place, "unknown-profile", format!("there is no profile '{}'", used.name))
            }
        };
        let names: Vec<String> = catalog.profiles.documents.keys().cloned().collect();
        diagnostic.hint = nearest(used.name.as_str(), &names).map(|near| format!("did you mean '{near}'?"));
        findings.push(of_fleet(fleet, diagnostic));
    }
    findings
}

/// Values that the schemas of a target's profiles refuse.
fn values(catalog: &Catalog, fleet: &LocatedFleet, target: &Target) -> Vec<Finding> {
    let subject =
        Subject::Use { fleet: fleet.metadata.name.to_string(), target: target.metadata.name.to_string() };
    let profiles = fleet.spec.profiles.iter().filter_map(|used| here(catalog, used));
    let wrong = profiles.flat_map(|profile| check(profile, fleet, target).findings);
    // What seems to be missing may be what was taken out because something else was wrong with it.
    let patched = catalog.fleets.patched.get(fleet.metadata.name.as_str()).is_some_and(|taken| taken.values)
        || catalog.targets.patched.get(target.metadata.name.as_str()).is_some_and(|taken| taken.values);
    let wrong = wrong.filter(|d| !(patched && d.code == "missing-key"));
    wrong.map(|diagnostic| Finding { subjects: vec![subject.clone()], diagnostic }).collect()
}

/// One profile, one target, two fleets: nobody could say which values and which rollout hold.
fn twice(catalog: &Catalog, uses: &BTreeMap<&str, Vec<&LocatedFleet>>) -> Vec<Finding> {
    let mut clashes: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for (target, fleets) in uses.iter().filter(|(_, fleets)| fleets.len() > 1) {
        let mut first: BTreeMap<&str, &str> = BTreeMap::new();
        for fleet in fleets {
            let name = fleet.metadata.name.as_str();
            for profile in fleet.spec.profiles.iter().map(|used| used.name.as_str()) {
                match first.get(profile) {
                    Some(other) if *other != name => {
                        clashes.entry((*other, name, profile)).or_default().push(*target);
                    }
                    Some(_) => {}
                    None => {
                        first.insert(profile, name);
                    }
                }
            }
        }
    }
    let mut findings = Vec::new();
    for ((one, two, profile), targets) in clashes {
        let subject = |fleet: &str, target: &&str| Subject::Use {
            fleet: fleet.to_owned(),
            target: (*target).to_owned(),
        };
        let subjects: Vec<_> = targets.iter().flat_map(|t| [subject(one, t), subject(two, t)]).collect();
        let which = match targets.as_slice() {
            [only] => (*only).to_owned(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => continue,
        };
        for (fleet, other) in [(one, two), (two, one)] {
            let Some(document) = catalog.fleets.documents.get(fleet) else { continue };
            let n =
                document.spec.profiles.iter().position(|p| p.name.as_str() == profile).unwrap_or_default();
            let message =
                format!("the fleets '{fleet}' and '{other}' both give the profile '{profile}' to {which}");
            let place = document.places.value(&format!("/spec/profiles/{n}/name"));
            let diagnostic = Diagnostic::error(place, "profile-twice", message)
                .hint("let the selectors choose different targets, or the fleets different profiles");
            findings.push(Finding { subjects: subjects.clone(), diagnostic });
        }
    }
    findings
}

/// `dependsOn` between fleets: fleets that are there, in no circle.
fn order(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names: Vec<String> = catalog.fleets.documents.keys().cloned().collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for fleet in catalog.fleets() {
        let wanted = fleet.spec.depends_on.iter().map(|name| name.as_str());
        for (n, name) in wanted.clone().enumerate() {
            if catalog.fleets.presence(name) == Presence::Absent {
                let place = fleet.places.value(&format!("/spec/dependsOn/{n}"));
                let mut finding =
                    Diagnostic::error(place, "unknown-fleet", format!("there is no fleet '{name}'"));
                finding.hint = nearest(name, &names).map(|near| format!("did you mean '{near}'?"));
                findings.push(of_fleet(fleet, finding));
            }
        }
        edges.insert(fleet.metadata.name.as_str(), wanted.collect());
    }
    for way in circles(&edges) {
        let Some(fleet) = way.first().and_then(|name| catalog.fleets.documents.get(*name)) else { continue };
        let message = format!("these fleets wait for each other: {}", way.join(" -> "));
        let diagnostic = Diagnostic::error(fleet.places.key("/spec/dependsOn"), "dependency-circle", message);
        let names: BTreeSet<&str> = way.iter().copied().collect();
        let subjects =
            names.into_iter().map(|name| Subject::Document(Kind::Fleet, name.to_owned())).collect();
        findings.push(Finding { subjects, diagnostic });
    }
    findings
}

/// The names that a fleet's profiles declare; none if one of them is not this commit's, or can't be read.
fn declared(catalog: &Catalog, fleet: &LocatedFleet) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for used in &fleet.spec.profiles {
        let profile = here(catalog, used)?;
        names.extend(profile.variables.names().cloned());
    }
    Some(names)
}

/// Values for variables that no profile declares.
fn unused(catalog: &Catalog, uses: &BTreeMap<&str, Vec<&LocatedFleet>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut by_fleet: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
    for fleet in catalog.fleets() {
        let names = declared(catalog, fleet);
        if let Some(names) = &names {
            let names: Vec<String> = names.iter().cloned().collect();
            for (name, pointer, near) in undeclared(&fleet.spec.variables, &names) {
                let message = format!("no profile of this fleet declares the variable '{}'", shorten(name));
                let mut diagnostic =
                    Diagnostic::warning(fleet.places.key(&pointer), "unused-variable", message);
                diagnostic.hint = near;
                findings.push(of_fleet(fleet, diagnostic));
            }
        }
        by_fleet.insert(fleet.metadata.name.as_str(), names);
    }
    for target in catalog.targets().filter(|t| !t.spec.variables.is_empty()) {
        let name = target.metadata.name.as_str();
        let Some(fleets) = uses.get(name) else { continue };
        let all: Option<Vec<&BTreeSet<String>>> =
            fleets.iter().map(|fleet| by_fleet.get(fleet.metadata.name.as_str())?.as_ref()).collect();
        let Some(all) = all else { continue };
        if target.spec.variables.keys().all(|name| all.iter().any(|names| names.contains(name))) {
            continue;
        }
        let names: Vec<String> = all.into_iter().flatten().cloned().collect();
        for (variable, pointer, near) in undeclared(&target.spec.variables, &names) {
            let message = format!("no profile of this target declares the variable '{}'", shorten(variable));
            let mut diagnostic = Diagnostic::warning(target.places.key(&pointer), "unused-variable", message);
            diagnostic.hint = near;
            let subjects = vec![Subject::Document(Kind::Target, name.to_owned())];
            findings.push(Finding { subjects, diagnostic });
        }
    }
    findings
}

impl<T> Shelf<T> {
    /// Whether everything in the folder could be read.
    fn is_complete(&self) -> bool {
        self.broken.is_empty() && self.patched.is_empty() && self.unreadable.is_empty()
    }
}
