//! Fleets that wait for others: `dependsOn`.

use std::collections::BTreeMap;

use super::reader::FleetReading;
use fairlead_core::model::name::FleetName;

/// What was read, each fleet after those that it depends on. A circle is a mistake that no reading holds.
pub(super) fn in_order(mut readings: BTreeMap<FleetName, FleetReading>) -> Vec<(FleetName, FleetReading)> {
    let mut ordered = Vec::with_capacity(readings.len());
    let names: Vec<FleetName> = readings.keys().cloned().collect();
    for name in names {
        take(&name, &mut readings, &mut ordered);
    }
    ordered
}

fn take(
    name: &FleetName,
    readings: &mut BTreeMap<FleetName, FleetReading>,
    ordered: &mut Vec<(FleetName, FleetReading)>,
) {
    // Taken out first, so that a circle ends.
    let Some(reading) = readings.remove(name) else { return };
    if let FleetReading::Intent(intent) = &reading {
        for first in &intent.policy.depends_on {
            take(first, readings, ordered);
        }
    }
    ordered.push((name.clone(), reading));
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::daemon::fleets::Fleets;
    use fairlead_core::model::assignment::{Assignment, Cause, Fact, FactBody};
    use fairlead_core::model::digest::{CommitId, InputDigest, ReleaseDigest};
    use fairlead_core::model::object::ObjectKey;
    use fairlead_core::model::release::ReleaseRef;
    use fairlead_core::model::revision::{Revision, Revisions};
    use fairlead_core::rollout::{Effect, Event, FleetPolicy, Intent, TargetIntent};

    /// What a fleet wants of targets at a commit.
    fn intent(commit: u8, first: &[&str], targets: &[&str]) -> Box<Intent> {
        let depends_on = first.iter().map(|name| name.parse().unwrap()).collect();
        let control = Revision::control(CommitId::from_bytes([commit; 20]));
        let revisions = Revisions { control, profiles: BTreeMap::new() };
        let target = |name: &&str| {
            let digest = ReleaseDigest::of([name.as_bytes(), &[commit]]);
            let release = ReleaseRef { digest, revisions: revisions.clone() };
            (name.parse().unwrap(), TargetIntent::new(release))
        };
        Box::new(Intent {
            revisions: revisions.clone(),
            renderers: InputDigest::of([]),
            policy: FleetPolicy { depends_on, ..FleetPolicy::default() },
            targets: targets.iter().map(target).collect(),
            unknown: false,
        })
    }

    fn readings(fleets: &[(&str, &[&str])]) -> BTreeMap<FleetName, FleetReading> {
        let reading = |(name, first): &(&str, &[&str])| {
            (name.parse().unwrap(), FleetReading::Intent(intent(1, first, &[])))
        };
        fleets.iter().map(reading).collect()
    }

    #[test]
    fn a_fleet_comes_after_those_that_it_waits_for() {
        let fleets = [("apps", &["base", "mesh"][..]), ("base", &["os"]), ("mesh", &["base"]), ("os", &[])];
        let order: Vec<_> =
            in_order(readings(&fleets)).into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(order, ["os", "base", "mesh", "apps"]);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(in_order(readings(&[("a", &["b"]), ("b", &["a"])])).len(), 2);
    }

    /// Fleets, and the orders that stand.
    #[derive(Default)]
    struct World {
        fleets: Fleets,
        orders: BTreeMap<(String, String), Assignment>,
    }

    impl World {
        /// Who was given something by an event.
        fn decide(&mut self, fleet: &str, event: Event) -> Vec<String> {
            let mut effects = Vec::new();
            let now = "2026-11-23T09:00:00Z".parse::<Timestamp>().unwrap();
            self.fleets.decide(&fleet.parse().unwrap(), event, now, &mut effects);
            let mut given = Vec::new();
            for (fleet, effect) in effects {
                if let Effect::Assign(order) = effect {
                    given.push(format!("{fleet}/{}", order.target));
                    self.orders.insert((fleet.to_string(), order.target.to_string()), *order);
                }
            }
            given
        }

        fn commit(&mut self, fleet: &str, commit: u8, first: &[&str], targets: &[&str]) -> Vec<String> {
            self.decide(fleet, Event::CommitObserved(intent(commit, first, targets)))
        }

        fn fact(&mut self, fleet: &str, target: &str, body: FactBody) -> Vec<String> {
            let fact = Fact { target: target.parse().unwrap(), fleet: fleet.parse().unwrap(), body };
            self.decide(fleet, fact.into())
        }

        fn online(&mut self, fleet: &str, target: &str) -> Vec<String> {
            self.fact(fleet, target, FactBody::Online { ledger: None })
        }

        fn converge(&mut self, fleet: &str, target: &str) -> Vec<String> {
            let order = &self.orders[&(fleet.to_owned(), target.to_owned())];
            let (generation, release) = (order.generation, order.release.digest);
            self.fact(fleet, target, FactBody::Converged { generation, release })
        }
    }

    #[test]
    fn a_fleet_starts_where_the_one_below_has_converged() {
        let mut world = World::default();
        assert!(world.commit("base", 1, &[], &["one", "two"]).is_empty());
        assert!(world.commit("apps", 1, &["base"], &["one", "two", "three"]).is_empty());
        for (fleet, target) in [("apps", "one"), ("apps", "two")] {
            assert!(world.online(fleet, target).is_empty(), "{target} is base's first");
        }
        assert_eq!(world.online("apps", "three"), ["apps/three"], "it is not base's");
        assert_eq!(world.online("base", "one"), ["base/one"]);
        assert_eq!(world.converge("base", "one"), ["apps/one"]);
        assert_eq!(world.online("base", "two"), ["base/two"]);
        assert_eq!(world.converge("base", "two"), ["apps/two"]);
        for target in ["one", "two", "three"] {
            world.converge("apps", target);
        }

        // A commit that changes both: the fleet below goes first again.
        assert_eq!(world.commit("base", 2, &[], &["one", "two"]), ["base/one", "base/two"]);
        assert_eq!(world.commit("apps", 2, &["base"], &["one", "two", "three"]), ["apps/three"]);
        assert_eq!(world.converge("base", "two"), ["apps/two"]);
        let order = world.orders[&("base".to_owned(), "one".to_owned())].clone();
        let cause = Cause::Unhealthy { object: ObjectKey::new("", "Pod", "", "web"), message: "no".into() };
        let (generation, release) = (order.generation, order.release.digest);
        let back = world.fact("base", "one", FactBody::Failed { generation, release, cause });
        assert_eq!(back, ["base/one", "base/two"], "base goes back");
        assert!(world.converge("base", "one").is_empty(), "what base went back to is not what it wants");
    }

    #[test]
    fn a_fleet_that_was_never_read_is_waited_for() {
        let mut world = World::default();
        world.commit("apps", 1, &["base"], &["one"]);
        assert!(world.online("apps", "one").is_empty());
        assert_eq!(world.commit("base", 1, &[], &["two"]), ["apps/one"], "now it is known not to have it");
    }
}
