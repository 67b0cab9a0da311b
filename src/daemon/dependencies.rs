//! Fleets that wait for others: `dependsOn`.

use std::collections::BTreeMap;

use super::reader::FleetReading;
use crate::model::name::FleetName;

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
    use super::*;
    use crate::model::digest::{CommitId, InputDigest};
    use crate::model::revision::{Revision, Revisions};
    use crate::rollout::{FleetPolicy, Intent};

    fn reading(first: &[&str]) -> FleetReading {
        let depends_on = first.iter().map(|name| name.parse().unwrap()).collect();
        FleetReading::Intent(Box::new(Intent {
            revisions: Revisions {
                control: Revision::control(CommitId::from_bytes([1; 20])),
                profiles: BTreeMap::new(),
            },
            renderers: InputDigest::of([]),
            policy: FleetPolicy { depends_on, ..FleetPolicy::default() },
            targets: BTreeMap::new(),
            unknown: false,
        }))
    }

    #[test]
    fn a_fleet_comes_after_those_that_it_waits_for() {
        let fleets = [("apps", &["base", "mesh"][..]), ("base", &["os"]), ("mesh", &["base"]), ("os", &[])];
        let readings = fleets.map(|(name, first)| (name.parse().unwrap(), reading(first)));
        let order: Vec<_> = in_order(readings.into()).into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(order, ["os", "base", "mesh", "apps"]);
    }

    #[test]
    fn a_circle_ends() {
        let readings = [("a", &["b"][..]), ("b", &["a"])].map(|(n, f)| (n.parse().unwrap(), reading(f)));
        assert_eq!(in_order(readings.into()).len(), 2);
    }
}
