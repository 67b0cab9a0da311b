//! `$ref`s of a variables schema: inside the document, or to a file below the profile's folder.
//!
//! Files are read here and given names of our own, so that compiling a schema resolves nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::document::inside;
use super::super::explain::{one_of, shorten};
use super::super::yaml::{self, Dialect, Places, token};
use crate::model::diagnostic::Diagnostic;
use crate::model::suggest::nearest;
use crate::model::tree::Tree;

/// Most files that one profile's schema may refer to.
const MAX_FILES: usize = 64;

/// The draft that is read.
pub(super) const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A file that a schema refers to.
pub(super) struct File {
    pub(super) schema: Value,
    pub(super) places: Places,
}

/// What is being read for one profile.
pub(super) struct References<'a> {
    tree: &'a dyn Tree,
    folder: &'a str,
    /// Path from the root to the number of the file.
    numbers: BTreeMap<String, usize>,
    /// By number; none until it is read, or if it can't be.
    pub(super) files: Vec<Option<File>>,
    pub(super) findings: Vec<Diagnostic>,
}

/// The name that a file goes by in rewritten references.
pub(super) fn uri(number: usize) -> String {
    format!("fairlead-file:/{number}")
}

/// The number of the file and the pointer into it that a rewritten reference names.
pub(super) fn parse_uri(reference: &str) -> (Option<usize>, &str) {
    let (file, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    (file.strip_prefix("fairlead-file:/").and_then(|n| n.parse().ok()), fragment)
}

/// Keywords whose value is a schema.
pub(super) const ONE: [&str; 11] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
pub(super) const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value maps names to schemas.
/// `definitions` and `dependencies` are of older drafts: the first is a place that references lead to, the second is
/// read as what took its place.
pub(super) const MAP: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// The other keywords of draft 2020-12, and OpenAPI's `nullable`.
const OTHER: [&str; 40] = [
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "markdownDescription",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "nullable",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// Keywords of other drafts and dialects that would be passed over in silence, and what to write instead.
const ELSEWHERE: [(&str, &str); 9] = [
    ("$recursiveAnchor", "use $ref; references here need no anchor"),
    ("$recursiveRef", "use $ref: '#', or a path such as #/$defs/node"),
    ("additionalItems", "what comes after 'prefixItems' is 'items' in draft 2020-12"),
    ("disallow", "use 'not'"),
    ("divisibleBy", "use 'multipleOf'"),
    ("extends", "use 'allOf'"),
    ("discriminator", "give each choice of 'oneOf' a property with 'const'"),
    (
        "x-kubernetes-validations",
        "rules of CEL are not read in a variables' schema; use JSON Schema's own keywords",
    ),
    ("x-kubernetes-int-or-string", "use anyOf: [{type: integer}, {type: string}]"),
];

/// The formats of draft 2020-12 that the validator checks.
const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "ipv4",
    "ipv6",
    "iri",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Visits a schema and all schemas in it; `at` is the JSON pointer of each.
fn visit(
    schema: &mut Value,
    at: &str,
    depth: usize,
    act: &mut dyn FnMut(&mut serde_json::Map<String, Value>, &str),
) {
    let Value::Object(object) = schema else { return };
    if depth > yaml::MAX_DEPTH {
        return;
    }
    act(object, at);
    for (key, value) in object.iter_mut() {
        let at = format!("{at}/{}", token(key));
        match (key.as_str(), value) {
            (key, value) if ONE.contains(&key) => visit(value, &at, depth + 1, act),
            (key, Value::Array(list)) if LIST.contains(&key) => {
                let items = list.iter_mut().enumerate();
                items.for_each(|(n, item)| visit(item, &format!("{at}/{n}"), depth + 1, act));
            }
            (key, Value::Object(map)) if MAP.contains(&key) => {
                let entries = map.iter_mut();
                entries.for_each(|(k, item)| visit(item, &format!("{at}/{}", token(k)), depth + 1, act));
            }
            // A place of the author's own, that a reference may lead to.
            (key, value @ Value::Object(_)) if !OTHER.contains(&key) => visit(value, &at, depth + 1, act),
            _ => {}
        }
    }
}

impl<'a> References<'a> {
    pub(super) fn new(tree: &'a dyn Tree, folder: &'a str) -> Self {
        Self { tree, folder, numbers: BTreeMap::new(), files: Vec::new(), findings: Vec::new() }
    }

    /// Checks a schema's keywords and rewrites its references; `base` is its place in its document.
    pub(super) fn rewrite(&mut self, schema: &mut Value, places: &Places, base: &str) {
        let document = schema.clone();
        visit(schema, "", 0, &mut |object, at| {
            let at = format!("{base}{at}");
            self.keywords(object, places, &at);
            if let Some(reference) = object.get("$ref").and_then(Value::as_str).map(str::to_owned) {
                match self.resolve(&reference, &document, places, &format!("{at}/$ref")) {
                    Some(rewritten) => object.insert("$ref".to_owned(), rewritten.into()),
                    None => object.remove("$ref"),
                };
            }
            if object.contains_key("$dynamicRef") {
                let place = places.key(&format!("{at}/$dynamicRef"));
                let finding = Diagnostic::error(place, "schema-reference", "dynamic references are not read");
                self.findings.push(finding.hint("use $ref"));
            }
            modernize(object);
            // Names of documents would make references relative to them; here paths are what counts.
            object.remove("$id");
            object.remove("$schema");
        });
    }

    /// Reads the files that were referred to, and those that they refer to.
    pub(super) fn read_files(&mut self) {
        let mut next = 0;
        while let Some((path, number)) =
            self.numbers.iter().find(|(_, n)| **n == next).map(|(p, n)| (p.clone(), *n))
        {
            next += 1;
            let bytes = match self.tree.read(&path) {
                Ok(Some(bytes)) => bytes,
                // `resolve` has looked whether it is there.
                Ok(None) => continue,
                Err(error) => {
                    self.findings.push(super::super::read::tree_error(&error));
                    continue;
                }
            };
            let parsed = yaml::parse(&path, &bytes, Dialect::Fairlead);
            self.findings.extend(parsed.diagnostics);
            if let Some(doc) = parsed.docs.into_iter().next() {
                let (mut schema, places) = (doc.value, doc.places);
                self.rewrite(&mut schema, &places, "");
                self.files[number] = Some(File { schema, places });
            }
        }
    }

    fn keywords(&mut self, object: &mut serde_json::Map<String, Value>, places: &Places, at: &str) {
        for (keyword, hint) in ELSEWHERE {
            if object.remove(keyword).is_some() {
                let place = places.key(&format!("{at}/{keyword}"));
                let message = format!("'{keyword}' is not a keyword of draft 2020-12, and is not applied");
                let finding = match keyword.starts_with("x-") {
                    true => Diagnostic::warning(place, "schema-keyword", message),
                    false => Diagnostic::error(place, "schema-keyword", message),
                };
                self.findings.push(finding.hint(hint));
            }
        }
        if let Some(draft) = object.get("$schema").and_then(Value::as_str)
            && draft.trim_end_matches('#') != DRAFT
        {
            let message = format!("the schema is of another draft, '{}'", shorten(draft));
            let finding = Diagnostic::error(places.value(&format!("{at}/$schema")), "schema-draft", message);
            self.findings.push(finding.expected(DRAFT));
        }
        if let Some(format) = object.get("format").and_then(Value::as_str)
            && !jsonschema::options().is_known_format(jsonschema::Draft::Draft202012, format)
        {
            let message = format!("'{}' is not a format that is known here", shorten(format));
            let formats: Vec<String> = FORMATS.map(str::to_owned).to_vec();
            let place = places.value(&format!("{at}/format"));
            let mut finding = Diagnostic::error(place, "schema-format", message).expected(one_of(&formats));
            finding.hint = nearest(format, &formats).map(|near| format!("did you mean '{near}'?"));
            self.findings.push(finding);
            object.remove("format");
        }
        for key in object.keys() {
            let known = |k: &&str| *k == key.as_str();
            if key.starts_with("x-") || ONE.iter().chain(&LIST).chain(&MAP).chain(&OTHER).any(known) {
                continue;
            }
            let all: Vec<String> =
                ONE.iter().chain(&LIST).chain(&MAP).chain(&OTHER).map(|k| (*k).to_owned()).collect();
            let message = format!("JSON Schema has no keyword '{}'; it says nothing", shorten(key));
            let place = places.key(&format!("{at}/{}", token(key)));
            let mut finding = Diagnostic::warning(place, "schema-keyword", message);
            finding.hint = nearest(key, &all).map(|near| format!("did you mean '{near}'?"));
            self.findings.push(finding);
        }
    }

    fn resolve(&mut self, reference: &str, document: &Value, places: &Places, at: &str) -> Option<String> {
        let mut refuse = |code: &str, message: String, hint: &str| {
            self.findings.push(Diagnostic::error(places.value(at), code, message).hint(hint));
            None
        };
        let shown = shorten(reference);
        let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        // Anchors and escapes would be other names for the same thing.
        if !(fragment.is_empty() || fragment.starts_with('/')) || fragment.contains('%') {
            let message = format!("the reference '{shown}' is not a plain JSON pointer");
            return refuse("schema-reference", message, "write it like #/$defs/port");
        }
        if path.is_empty() {
            if document.pointer(fragment).is_none() {
                let message = format!("there is nothing at '{shown}' in this schema");
                return refuse(
                    "schema-reference",
                    message,
                    "references begin at the schema, e.g. #/$defs/port",
                );
            }
            return Some(reference.to_owned());
        }
        let scheme = path.split('/').next().is_some_and(|first| first.contains(':'));
        if scheme || path.starts_with("//") {
            let message = format!("the reference '{shown}' leaves the repository; nothing is fetched");
            return refuse("schema-reference", message, "copy the schema into the profile's folder");
        }
        let here = places.file().rsplit_once('/').map_or("", |(folder, _)| folder);
        let below = match self.folder {
            "" => here,
            folder => here.strip_prefix(folder).unwrap_or_default().trim_start_matches('/'),
        };
        let Some(path) = join(below, path).and_then(|path| inside(self.folder, &path).ok()) else {
            let message = format!("the reference '{shown}' leaves the profile's folder");
            return refuse("schema-reference", message, "copy the schema into the profile's folder");
        };
        match self.tree.entry(&path) {
            Ok(Some(_)) => {}
            Ok(None) => {
                return refuse("schema-reference", format!("there is no file {path}"), "correct the path");
            }
            Err(error) => {
                self.findings.push(super::super::read::tree_error(&error));
                return None;
            }
        }
        if !self.numbers.contains_key(&path) && self.numbers.len() >= MAX_FILES {
            return refuse(
                "schema-reference",
                format!("more than {MAX_FILES} files are referred to"),
                "use fewer files",
            );
        }
        let next = self.numbers.len();
        let number = *self.numbers.entry(path).or_insert(next);
        if number == next {
            self.files.push(None);
        }
        Some(format!("{}#{fragment}", uri(number)))
    }
}

/// Says in the words of draft 2020-12 what draft-07's `dependencies` and OpenAPI's `nullable` say.
fn modernize(object: &mut serde_json::Map<String, Value>) {
    if let Some(Value::Bool(true)) = object.remove("nullable")
        && let Some(types) = object.get_mut("type")
    {
        let null = Value::from("null");
        match types {
            Value::String(_) => *types = vec![types.take(), null].into(),
            Value::Array(list) if !list.contains(&null) => list.push(null),
            _ => {}
        }
    }
    if let Some(Value::Object(dependencies)) = object.remove("dependencies") {
        let mut all: Vec<Value> = Vec::new();
        for (name, wanted) in dependencies {
            let keyword = if wanted.is_array() { "dependentRequired" } else { "dependentSchemas" };
            all.push(serde_json::json!({ keyword: { name: wanted } }));
        }
        match object.get_mut("allOf") {
            Some(Value::Array(list)) => list.extend(all),
            _ => {
                object.insert("allOf".to_owned(), all.into());
            }
        }
    }
}

/// `path` as seen from `folder`, without `.` and `..`; none if it goes above the top.
fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in folder.split('/').chain(path.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            segment => segments.push(segment),
        }
    }
    Some(segments.join("/"))
}
