//! The variables of profiles: their schema, and the values that a target gets.

mod cost;
mod references;
mod schema;

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::{LocatedFleet, Profile, Target};
use super::explain::{self, Problem};
use super::yaml::token;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::suggest::nearest;
use crate::model::target::Variables;

pub(super) use schema::{VariablesSchema, read};

const POINTER: &str = "/spec/variables";

/// What a target gets for the variables of a profile.
pub struct Values {
    pub values: Variables,
    /// Names whose values are wrong or missing: nothing that follows from them is worth a word.
    pub suspect: BTreeSet<String>,
    pub findings: Vec<Diagnostic>,
}

/// The variables of one profile for one target of a fleet: profile default < fleet < target, projected onto
/// the names that the profile declares, validated. `profile` may come from another commit than the others.
///
/// # Errors
/// Every value that the profile's schema refuses, at the place where the value is written.
pub fn variables(
    profile: &Profile,
    fleet: &LocatedFleet,
    target: &Target,
) -> Result<Variables, Vec<Diagnostic>> {
    let Values { values, findings, .. } = values(profile, fleet, target);
    if findings.is_empty() { Ok(values) } else { Err(findings) }
}

/// The same, with the values that there are whatever is wrong.
pub fn values(profile: &Profile, fleet: &LocatedFleet, target: &Target) -> Values {
    let schema = &profile.variables;
    let mut found = check(profile, fleet, target);
    if !schema.is_valid() {
        let message = format!("the variables' schema of profile {} is not valid", profile.name());
        let place = profile.document.places.key(POINTER);
        found.findings.push(Diagnostic::error(place, "schema-invalid", message));
    }
    found
}

/// What can be said of the values, also where something is wrong with the schema: then by the rest of it.
pub(super) fn check(profile: &Profile, fleet: &LocatedFleet, target: &Target) -> Values {
    let schema = &profile.variables;
    let mut values = Variables::new();
    for name in schema.names() {
        let given = target.spec.variables.get(name).or_else(|| fleet.spec.variables.get(name));
        if let Some(value) = given {
            values.insert(name.clone(), value.clone());
        }
    }
    let mut values = Value::Object(values);
    let filled = schema.fill(&mut values);
    let mut problems = schema.problems(&values);
    if let Err(error) = filled {
        problems.push(Problem::new("", "defaults-too-many", error.to_string()));
    }
    if !schema.is_valid() {
        // A default that is wrong was said where it is written.
        let given = |name: &String| {
            target.spec.variables.contains_key(name) || fleet.spec.variables.contains_key(name)
        };
        problems.retain(|problem| problem.code == "missing-key" || given(&name_of(&problem.pointer)));
    }
    let mut suspect: BTreeSet<String> = problems.iter().map(|problem| name_of(&problem.pointer)).collect();
    // What is wrong in a schema may have been a default.
    let absent = schema.names().filter(|name| !schema.is_valid() && values.get(*name).is_none());
    suspect.extend(absent.cloned());
    let values = match values {
        Value::Object(values) => values,
        _ => Variables::new(),
    };
    let findings = problems.into_iter().map(|p| placed(p, profile, fleet, target)).collect();
    Values { values, suspect, findings }
}

/// The variable that a pointer leads into.
fn name_of(pointer: &str) -> String {
    pointer.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// A problem of a value, at the place where the value comes from.
fn placed(problem: Problem, profile: &Profile, fleet: &LocatedFleet, target: &Target) -> Diagnostic {
    let name = name_of(&problem.pointer);
    let pointer = format!("{POINTER}{}", problem.pointer);
    let place = |places: &super::yaml::Places| -> Place {
        if problem.at_key { places.key(&pointer) } else { places.value(&pointer) }
    };
    let declared = profile.variables.place(&profile.document.places, &name);
    let of = format!("profile {}, {declared}", profile.name());
    let at = if target.spec.variables.contains_key(&name) {
        place(&target.places)
    } else if fleet.spec.variables.contains_key(&name) {
        place(&fleet.places)
    } else if name.is_empty() || problem.code == "missing-key" {
        // The target is where people will add it.
        target.places.key(POINTER)
    } else {
        declared.clone()
    };
    let given = [&target.places, &fleet.places].into_iter().find(|places| places.has(&pointer));
    let problem = match given.and_then(|places| places.written(&pointer)) {
        Some(written) => problem.with_written(written),
        None => problem,
    };
    let nested = problem.pointer.matches('/').count() > 1;
    let subject = match (name.is_empty(), problem.code) {
        (true, _) => format!("variables: {}", problem.message),
        (false, "missing-key") if !nested => format!("variable {}", problem.message),
        (false, _) => format!("variable '{}': {}", explain::shorten(&name), problem.message),
    };
    let expected = match problem.expected {
        Some(expected) => format!("{expected} ({of})"),
        None => format!("a value as declared ({of})"),
    };
    let mut finding = Diagnostic::error(at, problem.code, subject).expected(expected);
    finding.hint = problem.hint;
    finding
}

/// The names among `given` that `declared` doesn't hold, each with what was probably meant.
pub(super) fn undeclared<'a>(
    given: &'a Variables,
    declared: &'a [String],
) -> impl Iterator<Item = (&'a String, String, Option<String>)> {
    given.keys().filter(|name| !declared.contains(name)).map(move |name| {
        let near = nearest(name, declared).map(|near| format!("did you mean '{near}'?"));
        (name, format!("{POINTER}/{}", token(name)), near)
    })
}
