//! A JSON Schema validator's findings in words.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::yaml::token;
use crate::model::schedule::Schedule;
use crate::model::suggest::nearest;

/// Most findings about one value, and how many more are counted.
const MAX_PROBLEMS: usize = 100;
const MAX_COUNTED: usize = 10_000;

/// One finding about a value, before it is given its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// JSON pointer into the value; of what is missing, where it should be.
    pub(super) pointer: String,
    /// Whether the key is what is wrong, or what is there of the value that misses something.
    pub(super) at_key: bool,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) hint: Option<String>,
}

impl Problem {
    pub(super) fn new(pointer: &str, code: &'static str, message: String) -> Self {
        Self { pointer: pointer.to_owned(), at_key: false, code, message, expected: None, hint: None }
    }
    /// Shows a number or truth value as it is written where that says more: `1.10`, not `1.1`.
    pub(super) fn with_written(mut self, written: &str) -> Self {
        if self.code == "wrong-type"
            && let Some((_, rest)) = self.message.split_once(" is a ")
        {
            self.message = format!("{} is a {rest}", shorten(written));
        }
        self
    }
    fn at_key(mut self) -> Self {
        self.at_key = true;
        self
    }
    fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }
    fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// All findings about a value, each in words; `schema` is the whole schema.
pub(super) fn problems(validator: &jsonschema::Validator, schema: &Value, value: &Value) -> Vec<Problem> {
    if validator.is_valid(value) {
        return Vec::new();
    }
    let mut errors = validator.iter_errors(value);
    let mut problems: Vec<_> = errors.by_ref().take(MAX_PROBLEMS).flat_map(|e| explain(&e, schema)).collect();
    problems.truncate(MAX_PROBLEMS);
    let more = errors.take(MAX_COUNTED).count();
    if more > 0 {
        let at_least = if more == MAX_COUNTED { "at least " } else { "" };
        let message = format!("{at_least}{more} more findings about this are not shown");
        problems.push(Problem::new("", "too-many-findings", message));
    }
    // A name that is empty breaks its pattern and its least length: once is enough.
    let broken: Vec<String> =
        problems.iter().filter(|p| p.code == "invalid-value").map(|p| p.pointer.clone()).collect();
    problems.retain(|p| p.code != "invalid-length" || !broken.contains(&p.pointer));
    problems
}

/// What one finding means.
pub(super) fn explain(error: &ValidationError<'_>, schema: &Value) -> Vec<Problem> {
    let (at, value) = (error.instance_path().as_str(), error.instance().as_ref());
    let invalid = |message: String| vec![Problem::new(at, "invalid-value", message)];
    let limit = |words: &str, limit: &dyn std::fmt::Display| {
        vec![
            Problem::new(at, "out-of-range", format!("{} is out of range", shown(value)))
                .expected(format!("{words} {limit}")),
        ]
    };
    let length =
        |words: String, wanted: String| vec![Problem::new(at, "invalid-length", words).expected(wanted)];
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(error, schema);
            unexpected.iter().map(|key| unknown_key(at, key, &known)).collect()
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let pointer = format!("{at}/{}", token(name));
            vec![Problem::new(&pointer, "missing-key", format!("'{name}' is missing")).at_key()]
        }
        Kind::Type { kind } => vec![wrong_type(at, value, &types(kind), parent(error, schema))],
        Kind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
            vec![unknown_value(at, value, &options)]
        }
        Kind::Constant { expected_value } => vec![unknown_value(at, value, &[plain(expected_value)])],
        Kind::Pattern { pattern } => {
            let expected =
                pattern_words(pattern).map_or_else(|| format!("a match of {pattern}"), str::to_owned);
            vec![
                Problem::new(at, "invalid-value", format!("{} does not fit", shown(value)))
                    .expected(expected),
            ]
        }
        Kind::Format { format } => {
            vec![
                Problem::new(at, "invalid-value", format!("{} does not fit", shown(value)))
                    .expected(format_words(format))
                    .hint(format_hint(format, value)),
            ]
        }
        Kind::Minimum { limit: n } => limit("at least", n),
        Kind::Maximum { limit: n } => limit("at most", n),
        Kind::ExclusiveMinimum { limit: n } => limit("more than", n),
        Kind::ExclusiveMaximum { limit: n } => limit("less than", n),
        Kind::MultipleOf { multiple_of } => limit("a multiple of", multiple_of),
        Kind::MinLength { limit } => {
            length(format!("{} is too short", shown(value)), format!("at least {limit} characters"))
        }
        Kind::MaxLength { limit } => {
            length(format!("{} is too long", shown(value)), format!("at most {limit} characters"))
        }
        Kind::MinItems { limit } => {
            length("the list is too short".into(), format!("at least {limit} entries"))
        }
        Kind::MaxItems { limit } => length("the list is too long".into(), format!("at most {limit} entries")),
        Kind::MinProperties { limit } => {
            length("the mapping has too few keys".into(), format!("at least {limit}"))
        }
        Kind::MaxProperties { limit } => {
            length("the mapping has too many keys".into(), format!("at most {limit}"))
        }
        Kind::UniqueItems => invalid("the list holds an entry twice".into()),
        Kind::FalseSchema => invalid("nothing is allowed here".into()),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => choices(error, schema, context),
        Kind::OneOfMultipleValid { .. } => invalid(format!("{} fits several of the choices", shown(value))),
        Kind::PropertyNames { error } => {
            let inner = explain(error, schema);
            inner.into_iter().map(|p| Problem { pointer: at.to_owned(), at_key: true, ..p }).collect()
        }
        _ => invalid(shorten(&error.masked_with(shown(value)).to_string())),
    }
}

/// A value that fits none of several schemas: speak of the one that was most likely meant.
fn choices(
    error: &ValidationError<'_>,
    schema: &Value,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<Problem> {
    let (at, value) = (error.instance_path().as_str(), error.instance().as_ref());
    let here = |e: &&ValidationError<'static>| e.instance_path().as_str() == at;
    let mut allowed = Vec::new();
    let mut candidates = Vec::new();
    for branch in context {
        match branch.iter().filter(here).find_map(|e| match e.kind() {
            Kind::Type { kind } => Some(types(kind)),
            _ => None,
        }) {
            Some(types) => allowed.extend(types),
            None => candidates.push(branch),
        }
    }
    if candidates.is_empty() {
        let options = schema.pointer(error.schema_path().as_str()).and_then(Value::as_array);
        let patterned = options.into_iter().flatten().find(|s| s.get("pattern").is_some());
        return vec![wrong_type(at, value, &allowed, patterned)];
    }
    let candidates = match discriminated(at, value, &candidates) {
        Meant::One(branches) => branches,
        Meant::None(problem) => return vec![problem],
    };
    let missing = |branch: &[ValidationError<'static>]| {
        branch.iter().filter(here).find_map(|e| match e.kind() {
            Kind::Required { property } => property.as_str().map(str::to_owned),
            _ => None,
        })
    };
    let wanted: Vec<String> = candidates.iter().filter_map(|branch| missing(branch)).collect();
    let complete: Vec<_> = candidates.iter().filter(|branch| missing(branch).is_none()).collect();
    let keys = || value.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect::<Vec<String>>();
    let distinct: std::collections::BTreeSet<&String> = wanted.iter().collect();
    // Choices that each ask for a key of its own, and for nothing else: which key is there says which is meant.
    let about_keys =
        |e: &ValidationError<'static>| matches!(e.kind(), Kind::Required { .. }) || is_about_unknown_keys(e);
    let by_key = distinct.len() == candidates.len()
        && candidates.iter().all(|branch| branch.iter().filter(here).count() == branch.len())
        && candidates.iter().all(|branch| branch.iter().all(about_keys));
    match complete.as_slice() {
        [] if by_key && candidates.len() > 1 => {
            let near = keys().iter().find_map(|key| nearest(key, &wanted));
            vec![
                Problem::new(at, "missing-key", "none of the possible keys is here".to_owned())
                    .at_key()
                    .expected(format!("exactly one of {}", wanted.join(", ")))
                    .hint(near.map(|near| format!("did you mean '{near}'?"))),
            ]
        }
        [_, _, ..] if value.is_object() && only_unknown_keys(&complete) => {
            let message = format!("{} can't stand together", keys().join(" and "));
            vec![Problem::new(at, "several-keys", message).at_key().expected("only one of them")]
        }
        _ => {
            let near = candidates.iter().min_by_key(|branch| distance(branch, at));
            near.into_iter().flat_map(|branch| branch.iter()).flat_map(|e| explain(e, schema)).collect()
        }
    }
}

/// Whether each choice minds nothing but keys that another one has.
fn only_unknown_keys(branches: &[&&Vec<ValidationError<'static>>]) -> bool {
    branches.iter().all(|branch| branch.iter().all(is_about_unknown_keys))
}

fn is_about_unknown_keys(error: &ValidationError<'static>) -> bool {
    matches!(
        error.kind(),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } | Kind::FalseSchema
    )
}

/// How far a value is from a choice: what is wrong deep inside weighs less than what the value is as a whole.
fn distance(branch: &[ValidationError<'static>], at: &str) -> (usize, usize) {
    let weight = |e: &ValidationError<'static>| {
        let below = e.instance_path().as_str().len() > at.len();
        match e.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                2 * unexpected.len()
            }
            Kind::Required { .. } => 2,
            Kind::Constant { .. } | Kind::Enum { .. } => 4,
            Kind::Type { .. } if !below => 8,
            _ => 1,
        }
    };
    (branch.iter().map(weight).sum(), branch.len())
}

/// Which of several choices a value's own keys name.
enum Meant<'a> {
    One(Vec<&'a Vec<ValidationError<'static>>>),
    /// It names one that is not there.
    None(Problem),
}

/// Choices are often told apart by a key such as `kind: {const: s3}`: those of which the value breaks such a key are
/// not meant, unless it breaks that of each.
fn discriminated<'a>(at: &str, value: &Value, candidates: &[&'a Vec<ValidationError<'static>>]) -> Meant<'a> {
    // The keys just below that hold none of a choice's constants, with those.
    let broken = |branch: &Vec<ValidationError<'static>>| -> Vec<(String, Vec<String>)> {
        let found = branch.iter().filter_map(|e| {
            let key = e.instance_path().as_str().strip_prefix(at)?.strip_prefix('/')?;
            let options = match e.kind() {
                Kind::Constant { expected_value } => vec![plain(expected_value)],
                Kind::Enum { options } => options.as_array().into_iter().flatten().map(plain).collect(),
                _ => return None,
            };
            (!key.contains('/')).then(|| (key.to_owned(), options))
        });
        found.collect()
    };
    let all: Vec<_> = candidates.iter().map(|branch| broken(branch)).collect();
    let meant: Vec<_> = candidates
        .iter()
        .zip(&all)
        .filter(|(_, broken)| broken.is_empty())
        .map(|(branch, _)| *branch)
        .collect();
    if !meant.is_empty() {
        return Meant::One(meant);
    }
    // A key that all choices mind names them all: its value is what is wrong.
    let first = all.first().into_iter().flatten();
    let shared = first
        .map(|(key, _)| key)
        .find(|key| all.iter().all(|broken| broken.iter().any(|(other, _)| other == *key)));
    match shared {
        Some(key) if candidates.len() > 1 => {
            let options: Vec<String> =
                all.iter().flatten().filter(|(other, _)| other == key).flat_map(|(_, o)| o.clone()).collect();
            let found = value.pointer(&format!("/{key}")).unwrap_or(&Value::Null);
            Meant::None(unknown_value(&format!("{at}/{key}"), found, &options))
        }
        _ => Meant::One(candidates.to_vec()),
    }
}

fn parent<'a>(error: &ValidationError<'_>, schema: &'a Value) -> Option<&'a Value> {
    let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(parent)
}

fn known_keys(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    let properties = parent(error, schema).and_then(|s| s.get("properties")).and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

fn unknown_key(at: &str, key: &str, known: &[String]) -> Problem {
    let problem = Problem::new(
        &format!("{at}/{}", token(key)),
        "unknown-key",
        format!("unknown key '{}'", shorten(key)),
    );
    let problem = problem.at_key().hint(nearest(key, known).map(|near| format!("did you mean '{near}'?")));
    if known.is_empty() { problem } else { problem.expected(one_of(known)) }
}

fn unknown_value(at: &str, value: &Value, options: &[String]) -> Problem {
    let near = value.as_str().filter(|_| options.len() > 1).and_then(|text| nearest(text, options));
    Problem::new(at, "unknown-value", format!("{} is not allowed", shown(value)))
        .expected(one_of(options))
        .hint(near.map(|near| format!("did you mean '{near}'?")))
}

fn wrong_type(at: &str, value: &Value, allowed: &[JsonType], schema: Option<&Value>) -> Problem {
    let text = |key: &str| schema.and_then(|s| s.get(key)).and_then(Value::as_str);
    let words = text("pattern").and_then(pattern_words).map(str::to_owned);
    let words = words.or_else(|| text("format").map(format_words));
    let expected = words.unwrap_or_else(|| type_words(allowed));
    let hint = match value {
        Value::Number(_) | Value::Bool(_) if allowed == [JsonType::String] => Some("put it in quotes"),
        Value::String(text) if allowed == [JsonType::Boolean] => matches!(
            text.to_ascii_lowercase().as_str(),
            "yes" | "no" | "on" | "off" | "y" | "n" | "true" | "false"
        )
        .then_some("write true or false, without quotes"),
        Value::String(text) if allowed.iter().any(|t| matches!(t, JsonType::Integer | JsonType::Number)) => {
            text.parse::<f64>().is_ok().then_some("remove the quotes")
        }
        _ => None,
    };
    let message = match value {
        Value::Null => "there is no value".to_owned(),
        Value::Bool(_) => format!("{value} is a boolean"),
        Value::Number(n) if n.is_f64() => format!("{n} is a number with a fraction"),
        Value::Number(n) => format!("{n} is a number"),
        Value::String(text) => format!("'{}' is a string", shorten(text)),
        Value::Array(_) => "this is a list".to_owned(),
        Value::Object(_) => "this is a mapping".to_owned(),
    };
    Problem::new(at, "wrong-type", message).expected(expected).hint(hint.map(str::to_owned))
}

fn types(kind: &TypeKind) -> Vec<JsonType> {
    match kind {
        TypeKind::Single(only) => vec![*only],
        TypeKind::Multiple(set) => set.iter().collect(),
    }
}

fn type_words(types: &[JsonType]) -> String {
    let mut words: Vec<_> = types
        .iter()
        .map(|t| match t {
            JsonType::Null => "nothing",
            JsonType::Boolean => "true or false",
            JsonType::Integer => "a whole number",
            JsonType::Number => "a number",
            JsonType::String => "a string",
            JsonType::Array => "a list",
            JsonType::Object => "a mapping",
        })
        .collect();
    words.dedup();
    words.join(" or ")
}

/// A value as messages show it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("'{}'", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// At most 80 characters, on one line.
pub(super) fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(80).map(clean).collect();
    if text.chars().nth(80).is_some() {
        short.push_str("...");
    }
    short
}

/// `one of a, b, c`, the first twenty.
pub(super) fn one_of(options: &[String]) -> String {
    match options {
        [only] => format!("'{only}'"),
        _ => {
            let more = if options.len() > 20 { ", ..." } else { "" };
            let first: Vec<&str> = options.iter().take(20).map(String::as_str).collect();
            format!("one of {}{more}", first.join(", "))
        }
    }
}

/// The patterns of [`crate::model`]'s types in words.
fn pattern_words(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => {
            "a name: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"
        }
        "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" => "a duration such as 30s, 5m, 1h30m or 2d",
        "^(100|[0-9]{1,2})%$" => "a whole number, or a percentage such as 25%",
        "^[0-9a-f]{40}$" => "a full commit hash: 40 digits of 0-9 and a-f, in quotes if all are digits",
        "^(/[^/]+)+$" => "a JSON pointer such as /spec/replicas",
        _ => return None,
    })
}

/// What exactly is wrong, for a format whose reader says so.
fn format_hint(format: &str, value: &Value) -> Option<String> {
    let text = value.as_str().filter(|_| format == "cron")?;
    text.parse::<Schedule>().err().map(|error| error.to_string())
}

fn format_words(format: &str) -> String {
    match format {
        "cron" => {
            "minute, hour, day of the month, month and day of the week, such as '0 1 * * Sat,Sun'".to_owned()
        }
        "time-zone" => "a time zone of the IANA database such as Europe/Berlin".to_owned(),
        "semver" => "a semantic version such as 1.4.0".to_owned(),
        "semver-range" => {
            "a range of semantic versions such as '>=1.4, <2', '1.x' or '^1.2 || ^2'".to_owned()
        }
        "ipv4" => "an IPv4 address such as 10.20.0.5".to_owned(),
        "ipv6" => "an IPv6 address such as fd00::5".to_owned(),
        other => format!("a value of the format '{other}'"),
    }
}
