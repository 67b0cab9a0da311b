//! The JSON Schemas of the documents, made from the Rust types.

use std::sync::LazyLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::document::Kind;
use crate::model::fleet::Fleet;
use crate::model::profile::ClusterProfile;
use crate::model::range::VersionRange;
use crate::model::schedule::{Schedule, TimeZoneName};
use crate::model::target::ClusterTarget;

/// The schemas, with the names of their files in `schemas/`.
pub fn documents() -> Vec<(&'static str, Value)> {
    vec![
        ("clusterprofile.json", document::<ClusterProfile>("clusterprofile.json", "ClusterProfile")),
        ("clustertarget.json", document::<ClusterTarget>("clustertarget.json", "ClusterTarget")),
        ("fleet.json", document::<Fleet>("fleet.json", "Fleet")),
    ]
}

fn document<T: JsonSchema>(file: &str, title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .with_transform(RecursiveTransform(plain_enum));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".into(), json!(format!("https://fairlead.dev/schemas/v1alpha1/{file}")));
    schema.insert("title".into(), json!(title));
    schema.to_value()
}

/// An optional field is left out, not null: `pin:` with nothing behind it is a slip.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
}

/// Variants with a documentation each come as `oneOf` of constants: one `enum` says the same, and what is
/// wrong with a value can then be said in one sentence.
fn plain_enum(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let mut names = Vec::new();
    let mut lines = Vec::new();
    for choice in choices {
        match (choice.get("const"), choice.get("enum")) {
            (Some(name), _) => {
                let text = choice.get("description").and_then(Value::as_str).unwrap_or_default();
                lines.push(format!("{}: {text}", name.as_str().unwrap_or_default()));
                names.push(name.clone());
            }
            (None, Some(Value::Array(more))) => names.extend(more.iter().cloned()),
            _ => return,
        }
    }
    let before = schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let description: Vec<String> = before.into_iter().chain(lines).collect();
    schema.remove("oneOf");
    schema.insert("type".into(), json!("string"));
    schema.insert("enum".into(), Value::Array(names));
    if !description.is_empty() {
        schema.insert("description".into(), json!(description.join("\n\n")));
    }
}

/// A compiled schema of one kind of document.
pub(super) struct DocumentSchema {
    pub(super) schema: Value,
    /// None only if the types made a schema that is none: a test sees to that.
    pub(super) validator: Option<Validator>,
}

static SCHEMAS: LazyLock<[DocumentSchema; 3]> = LazyLock::new(|| {
    [
        compiled(document::<ClusterProfile>("clusterprofile.json", "ClusterProfile")),
        compiled(document::<ClusterTarget>("clustertarget.json", "ClusterTarget")),
        compiled(document::<Fleet>("fleet.json", "Fleet")),
    ]
});

pub(super) fn of(kind: Kind) -> &'static DocumentSchema {
    let [profile, target, fleet] = &*SCHEMAS;
    match kind {
        Kind::Profile => profile,
        Kind::Target => target,
        Kind::Fleet => fleet,
    }
}

/// The compiled schema of any type.
pub(super) fn of_type<T: JsonSchema>() -> DocumentSchema {
    compiled(document::<T>("settings.json", &T::schema_name()))
}

fn compiled(schema: Value) -> DocumentSchema {
    let options = jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_format("semver", |text: &str| semver::Version::parse(text).is_ok())
        .with_format("semver-range", |text: &str| text.parse::<VersionRange>().is_ok())
        .with_format("cron", |text: &str| text.parse::<Schedule>().is_ok())
        .with_format("time-zone", |text: &str| text.parse::<TimeZoneName>().is_ok());
    let validator = options.build(&schema).ok();
    DocumentSchema { schema, validator }
}
