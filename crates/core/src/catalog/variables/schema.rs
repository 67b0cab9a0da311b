//! A profile's variables schema: checked, compiled, and asked for names and defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::super::explain::{self, Problem, shorten};
use super::super::yaml::{Places, token};
use super::references::{File, References, parse_uri, uri};
use super::{POINTER, cost};
use crate::model::budget::{self, Cost, OVER_BUDGET};
use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::target::Variables;
use crate::model::tree::Tree;

/// Most schemas of one value that are looked at for names and defaults.
const MAX_PARTS: usize = 64;
/// Most values that are looked at to put defaults into the values of one target.
const MAX_STEPS: usize = 100_000;
/// Deepest value that defaults are put into: what a document may have, and what defaults may add.
const MAX_DEPTH: usize = 120;
/// Most checks of the values of one target against one profile.
const MAX_CHECKS: usize = 5_000_000;
/// How often a part of a schema is taken out to see what the rest says.
const MAX_CUTS: usize = 50;

/// The defaults of a schema make more defaults, without end or nearly.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the schema's defaults go on without end, or are more than 100000 values")]
pub(super) struct TooManyDefaults;

fn step(steps: &mut usize, n: usize) -> Result<(), TooManyDefaults> {
    *steps = steps.checked_sub(n).ok_or(TooManyDefaults)?;
    Ok(())
}

/// How many values there are in a value.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>() + 1,
        Value::Object(map) => map.values().map(count).sum::<usize>() + 1,
        _ => 1,
    }
}

/// The schema in `part` of an entry of a mapping.
fn of_entry<'a>(part: &'a Value, name: &str) -> Option<&'a Value> {
    match part.get("properties").and_then(|properties| properties.get(name)) {
        Some(schema) => Some(schema),
        // Which entries a pattern takes out of the others is not asked: such a schema gives them no defaults.
        None if part.get("patternProperties").is_some() => None,
        None => part.get("additionalProperties"),
    }
}

/// The schema in `part` of an item of a list.
fn of_item(part: &Value, n: usize) -> Option<&Value> {
    let first = part.get("prefixItems").and_then(Value::as_array);
    match first.and_then(|first| first.get(n)) {
        Some(schema) => Some(schema),
        None => part.get("items"),
    }
}

/// Steps that a pattern may take: a profile's author must not be able to keep the daemon busy.
const BACKTRACK_LIMIT: usize = 10_000;
/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 64 << 10;

/// The compiled schema of a profile's variables.
#[derive(Clone, Default)]
pub(in super::super) struct VariablesSchema {
    compiled: Option<Arc<Compiled>>,
    /// Declared names, with the JSON pointer to each one's schema if that is in the profile's document.
    names: BTreeMap<String, Option<String>>,
    /// Said already at the profile.
    invalid: bool,
}

struct Compiled {
    validator: Validator,
    schemas: Schemas,
    /// Most schemas that one value is held against.
    cost: usize,
}

/// The schema with the files that it refers to.
pub(super) struct Schemas {
    pub(super) root: Value,
    pub(super) files: Vec<Option<File>>,
}

impl fmt::Debug for VariablesSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}

impl VariablesSchema {
    pub(in super::super) fn declares(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub(in super::super) fn is_valid(&self) -> bool {
        !self.invalid
    }

    pub(in super::super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// Where a variable is declared.
    pub(super) fn place(&self, places: &Places, name: &str) -> Place {
        let pointer = self.names.get(name).and_then(Option::as_deref).unwrap_or_default();
        places.key(&format!("{POINTER}{pointer}"))
    }

    /// Puts defaults where values are missing.
    ///
    /// # Errors
    /// There are too many to put in.
    pub(super) fn fill(&self, values: &mut Value) -> Result<(), TooManyDefaults> {
        match &self.compiled {
            Some(compiled) => compiled.schemas.fill_in(values),
            None => Ok(()),
        }
    }

    pub(super) fn problems(&self, values: &Value) -> Vec<Problem> {
        let Some(compiled) = &self.compiled else { return Vec::new() };
        // A value is held against no more schemas than the most of any value.
        let checks = compiled.cost.saturating_mul(count(values));
        let too_many = match budget::spend(Cost::Checks, checks) {
            Err(exceeded) => Some(exceeded.to_string()),
            Ok(()) if checks > MAX_CHECKS => {
                Some(format!("checking the values could take {checks} steps, more than {MAX_CHECKS}"))
            }
            Ok(()) => None,
        };
        if let Some(message) = too_many {
            let hint = Some("give fewer values, or let the schema ask less of each".to_owned());
            return vec![Problem { hint, ..Problem::new("", OVER_BUDGET, message) }];
        }
        explain::problems(&compiled.validator, &compiled.schemas.root, values)
    }
}

/// What a reference leads to: the number of its document (0 is the profile's, others are files) and a schema.
type Found<'a> = (usize, &'a Value);

impl Schemas {
    fn document(&self, number: usize) -> Option<&Value> {
        match number.checked_sub(1) {
            None => Some(&self.root),
            Some(file) => self.files.get(file)?.as_ref().map(|f| &f.schema),
        }
    }

    pub(super) fn follow(&self, number: usize, reference: &str) -> Option<Found<'_>> {
        let (file, fragment) = parse_uri(reference);
        let number = file.map_or(number, |file| file + 1);
        let document = self.document(number)?;
        if fragment.is_empty() {
            Some((number, document))
        } else {
            Some((number, document.pointer(fragment)?))
        }
    }

    /// The schemas that hold for a value as a whole: itself, its `$ref`, its `allOf`; the first
    /// [`MAX_PARTS`], because these can name each other over and over.
    fn parts<'a>(&'a self, number: usize, schema: &'a Value) -> Vec<Found<'a>> {
        let mut parts = vec![(number, schema)];
        let mut next = 0;
        while let Some((number, schema)) = parts.get(next).copied() {
            next += 1;
            let reference = schema.get("$ref").and_then(Value::as_str);
            let referred = reference.and_then(|r| self.follow(number, r));
            let all = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
            let room = MAX_PARTS.saturating_sub(parts.len());
            parts.extend(referred.into_iter().chain(all.map(|s| (number, s))).take(room));
        }
        parts
    }

    /// Puts defaults where values are missing, as an API server does for a CRD: into mappings and lists that were
    /// given and into those that a default has just made, by `properties`, `additionalProperties`, `items` and
    /// `prefixItems`, also those of `$ref` and `allOf`.
    ///
    /// # Errors
    /// A schema that names itself may ask for more without end.
    pub(super) fn fill_in(&self, values: &mut Value) -> Result<(), TooManyDefaults> {
        self.fill(&self.root, 0, values, &mut { MAX_STEPS }, 0)
    }

    fn fill(
        &self,
        schema: &Value,
        number: usize,
        value: &mut Value,
        steps: &mut usize,
        depth: usize,
    ) -> Result<(), TooManyDefaults> {
        if !value.is_object() && !value.is_array() {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(TooManyDefaults);
        }
        let parts = self.parts(number, schema);
        if let Value::Object(values) = value {
            for (number, part) in &parts {
                for (name, property) in
                    part.get("properties").and_then(Value::as_object).into_iter().flatten()
                {
                    step(steps, 1)?;
                    if !values.contains_key(name)
                        && let Some(default) = self.default(*number, property)
                    {
                        step(steps, count(default))?;
                        values.insert(name.clone(), default.clone());
                    }
                }
            }
        }
        for (number, part) in parts {
            match value {
                Value::Object(values) => {
                    for (name, value) in values.iter_mut() {
                        if let Some(schema) = of_entry(part, name) {
                            step(steps, 1)?;
                            self.fill(schema, number, value, steps, depth + 1)?;
                        }
                    }
                }
                Value::Array(items) => {
                    for (n, item) in items.iter_mut().enumerate() {
                        if let Some(schema) = of_item(part, n) {
                            step(steps, 1)?;
                            self.fill(schema, number, item, steps, depth + 1)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn default<'a>(&'a self, number: usize, schema: &'a Value) -> Option<&'a Value> {
        self.parts(number, schema).into_iter().find_map(|(_, part)| part.get("default"))
    }

    fn names(&self) -> BTreeMap<String, Option<String>> {
        let mut names = BTreeMap::new();
        for (number, part) in self.parts(0, &self.root) {
            for name in part.get("properties").and_then(Value::as_object).into_iter().flat_map(|p| p.keys()) {
                let direct = number == 0 && std::ptr::eq(part, &self.root);
                let pointer = direct.then(|| format!("/properties/{}", token(name)));
                names.entry(name.clone()).or_insert(pointer);
            }
        }
        names
    }
}

/// Gives a schema the files that it refers to, and refuses everything else.
struct Closed(BTreeMap<String, Value>);

impl Retrieve for Closed {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let known = self.0.get(uri.as_str()).cloned();
        known.ok_or_else(|| "nothing outside the profile's folder is read".into())
    }
}

/// Checks and compiles the variables schema of a profile in `folder`.
pub(in super::super) fn read(
    tree: &dyn Tree,
    folder: &str,
    variables: &Variables,
    places: &Places,
) -> (VariablesSchema, Vec<Diagnostic>) {
    if variables.is_empty() {
        return (VariablesSchema::default(), Vec::new());
    }
    let mut root = Value::Object(variables.clone());
    let mut references = References::new(tree, folder);
    if variables.get("type").and_then(Value::as_str) != Some("object") {
        let place = if places.has("/spec/variables/type") {
            places.value("/spec/variables/type")
        } else {
            places.key(POINTER)
        };
        references.findings.push(
            Diagnostic::error(place, "schema-type", "the variables' schema must say 'type: object'")
                .hint("list the variables under 'properties'"),
        );
    }
    let (own, mut cuts) = meta_problems(&root, places, POINTER);
    references.findings.extend(own);
    references.rewrite(&mut root, places, POINTER);
    references.read_files();
    let mut findings = std::mem::take(&mut references.findings);
    for file in references.files.iter_mut().flatten() {
        let (found, wrong) = meta_problems(&file.schema, &file.places, "");
        findings.extend(found);
        wrong.iter().for_each(|pointer| cut(&mut file.schema, pointer));
    }
    // What is wrong in one part hides nothing that the rest says of values.
    let mut schemas = Schemas { root, files: references.files };
    let names = schemas.names();
    cuts.drain(..).for_each(|pointer| cut(&mut schemas.root, &pointer));
    let mut compiled = None;
    for _ in 0..MAX_CUTS {
        let built = match cost::check(&schemas) {
            Ok(cost) => compile(&schemas).map(|validator| (validator, cost)),
            Err((pointer, why)) => Err((pointer, why.message().to_owned())),
        };
        match built {
            Ok((validator, cost)) => {
                findings.extend(default_problems(&validator, &schemas, &names, places));
                compiled = Some(Arc::new(Compiled { validator, schemas, cost }));
                break;
            }
            Err((pointer, message)) => {
                let place = places.value(&format!("{POINTER}{pointer}"));
                findings.push(Diagnostic::error(place, "schema-invalid", message));
                cut(&mut schemas.root, &pointer);
            }
        }
    }
    let invalid = findings.iter().any(Diagnostic::is_error);
    (VariablesSchema { compiled, names, invalid }, findings)
}

/// Takes a part out of a schema: what holds it says nothing there.
fn cut(schema: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        *schema = Value::Bool(true);
        return;
    };
    match schema.pointer_mut(parent) {
        Some(Value::Object(parent)) => {
            parent.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(parent)) => {
            if let Some(item) = key.parse().ok().and_then(|n: usize| parent.get_mut(n)) {
                *item = Value::Bool(true);
            }
        }
        _ => *schema = Value::Bool(true),
    }
}

/// What is wrong with a schema as such, and the JSON pointers of that.
fn meta_problems(schema: &Value, places: &Places, base: &str) -> (Vec<Diagnostic>, Vec<String>) {
    let mut pointers = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let meta = jsonschema::draft202012::meta::validator();
    let problems = meta.iter_errors(schema).flat_map(|error| explain::explain(&error, &Value::Null));
    let findings = problems
        .filter(|problem| seen.insert(problem.pointer.clone()))
        .map(|problem| {
            let place = places.value(&format!("{base}{}", problem.pointer));
            let message = format!("not a valid JSON Schema: {}", problem.message);
            let finding = Diagnostic::error(place, "schema-invalid", message);
            let hint = older_draft(schema, &problem.pointer).map(str::to_owned).or(problem.hint);
            pointers.push(problem.pointer);
            Diagnostic { expected: problem.expected, hint, ..finding }
        })
        .collect();
    (findings, pointers)
}

/// What to write instead of what older drafts of JSON Schema had.
fn older_draft(schema: &Value, pointer: &str) -> Option<&'static str> {
    let value = schema.pointer(pointer)?;
    Some(match (pointer.rsplit('/').next()?, value) {
        ("items", Value::Array(_)) => {
            "a list of schemas is 'prefixItems' in draft 2020-12, and 'items' is what holds for the rest"
        }
        ("exclusiveMinimum" | "exclusiveMaximum", Value::Bool(_)) => {
            "in draft 2020-12 it is the limit itself: exclusiveMinimum: 0"
        }
        ("required", Value::Bool(_)) => "in draft 2020-12 it is a list of names beside 'properties'",
        _ => return None,
    })
}

fn compile(schemas: &Schemas) -> Result<Validator, (String, String)> {
    let files = schemas.files.iter().enumerate();
    let files = files.filter_map(|(n, file)| Some((uri(n), file.as_ref()?.schema.clone())));
    let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT).size_limit(PATTERN_SIZE);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(Closed(files.collect()))
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .build(&schemas.root)
        .map_err(|error| {
            let message = format!("not a valid JSON Schema: {}", shorten(&error.to_string()));
            (error.instance_path().as_str().to_owned(), message)
        })
}

/// Defaults that the schema itself refuses.
fn default_problems(
    validator: &Validator,
    schemas: &Schemas,
    names: &BTreeMap<String, Option<String>>,
    places: &Places,
) -> Vec<Diagnostic> {
    let mut values = Value::Object(Variables::new());
    if let Err(error) = schemas.fill_in(&mut values) {
        return vec![Diagnostic::error(places.key(POINTER), "schema-default", error.to_string())];
    }
    let problems = explain::problems(validator, &schemas.root, &values);
    // What is missing altogether comes from fleets and targets.
    let given = |p: &Problem| {
        !p.pointer.is_empty() && (p.code != "missing-key" || p.pointer.matches('/').count() > 1)
    };
    let problems = problems.into_iter().filter(given);
    problems
        .map(|problem| {
            let name = problem.pointer.split('/').nth(1).unwrap_or_default();
            let pointer = names.get(name).and_then(Option::as_deref).unwrap_or_default();
            let place = places.value(&format!("{POINTER}{pointer}/default"));
            let message = format!("the default of '{name}': {}", problem.message);
            let finding = Diagnostic::error(place, "schema-default", message);
            Diagnostic { expected: problem.expected, hint: problem.hint, ..finding }
        })
        .collect()
}
