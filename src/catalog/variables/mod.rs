//! The variables of profiles: their schema, and the values that a target gets.

mod cost;
mod references;
mod schema;

use serde_json::Value;

use super::document::{LocatedFleet, Profile, Target};
use super::explain::{self, Problem};
use super::yaml::token;
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::suggest::nearest;
use crate::model::target::Variables;

pub(super) use schema::{VariablesSchema, read};

const POINTER: &str = "/spec/variables";

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
    let schema = &profile.variables;
    if !schema.is_valid() {
        let message = format!("the variables' schema of profile {} is not valid", profile.name());
        return Err(vec![Diagnostic::error(profile.document.places.key(POINTER), "schema-invalid", message)]);
    }
    let mut values = Variables::new();
    for name in schema.names() {
        let given = target.spec.variables.get(name).or_else(|| fleet.spec.variables.get(name));
        if let Some(value) = given {
            values.insert(name.clone(), value.clone());
        }
    }
    let mut values = Value::Object(values);
    schema.fill(&mut values);
    let problems = schema.problems(&values);
    match values {
        Value::Object(values) if problems.is_empty() => Ok(values),
        _ => Err(problems.into_iter().map(|p| placed(p, profile, fleet, target)).collect()),
    }
}

/// A problem of a value, at the place where the value comes from.
fn placed(problem: Problem, profile: &Profile, fleet: &LocatedFleet, target: &Target) -> Diagnostic {
    let name = problem.pointer.split('/').nth(1).unwrap_or_default().replace("~1", "/").replace("~0", "~");
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
