//! A JSON Schema of ours as a table for people. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// One row for each field, depth first, objects before their fields.
pub fn table(schema: &Value) -> String {
    let mut table = Table { schema, rows: Vec::new() };
    table.fields("", schema);
    let head = "| Field | Type | Meaning |\n|---|---|---|\n".to_owned();
    table.rows.iter().fold(head, |text, row| text + row)
}

struct Table<'a> {
    schema: &'a Value,
    rows: Vec<String>,
}

impl<'a> Table<'a> {
    fn fields(&mut self, path: &str, object: &'a Value) {
        let Some(properties) = object["properties"].as_object() else { return };
        let required: BTreeSet<&str> =
            object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.field(&path, field, required.contains(name.as_str()));
        }
    }

    fn field(&mut self, path: &str, field: &'a Value, required: bool) {
        let of_type = self.resolve(field);
        let mut meaning = texts(field, of_type).join(" ");
        if let Some(default) = default(field).filter(|_| !meaning.contains("Default: ")) {
            meaning = format!("{meaning} Default: {default}.").trim().to_owned();
        }
        let name = if required { format!("**`{path}`**") } else { format!("`{path}`") };
        let of = self.type_of(of_type);
        self.rows.push(format!("| {name} | {of} | {} |\n", meaning.replace('|', "\\|")));
        let item = self.resolve(&of_type["items"]);
        self.fields(path, of_type);
        self.fields(&format!("{path}[]"), item);
        for choice in choices(of_type) {
            self.choice(path, choice);
        }
        for choice in choices(item) {
            self.choice(&format!("{path}[]"), choice);
        }
    }

    /// An object with one field: what is said of the object is said of the field.
    fn choice(&mut self, path: &str, object: &'a Value) {
        let Some(properties) = object["properties"].as_object() else { return };
        for (name, field) in properties {
            let row = self.rows.len();
            self.field(&format!("{path}.{name}"), field, false);
            let said = texts(object, object).join(" ").replace('|', "\\|");
            if let Some(row) = self.rows.get_mut(row)
                && row.ends_with("|  |\n")
            {
                *row = row.replace("|  |\n", &format!("| {said} |\n"));
            }
        }
    }

    /// What a `$ref` names, also one that may be null.
    fn resolve(&self, mut field: &'a Value) -> &'a Value {
        if let Some(choices) = field["anyOf"].as_array()
            && let [only] = choices.iter().filter(|one| one["type"] != "null").collect::<Vec<_>>()[..]
        {
            field = only;
        }
        match field["$ref"].as_str() {
            Some(reference) => self.schema.pointer(reference.trim_start_matches('#')).unwrap_or(field),
            None => field,
        }
    }

    fn type_of(&self, field: &'a Value) -> String {
        if let Some(values) = field["enum"].as_array() {
            let values: Vec<_> = values.iter().map(|value| format!("`{}`", plain(value))).collect();
            return values.join(", ");
        }
        if field["oneOf"].is_array() {
            return "one of the following".to_owned();
        }
        if let Some(choices) = field["anyOf"].as_array() {
            let choices: Vec<_> = choices.iter().map(|choice| self.type_of(choice)).collect();
            return choices.join(" or ");
        }
        let pattern = field["pattern"].as_str().unwrap_or_default();
        let types = match &field["type"] {
            Value::Array(types) => types.iter().find(|one| *one != "null").unwrap_or(&Value::Null),
            only => only,
        };
        match types.as_str() {
            Some("array") => format!("list of {}", plural(&self.type_of(self.resolve(&field["items"])))),
            Some("object") if field["additionalProperties"]["type"] == "string" => "map of texts".to_owned(),
            Some("object") if field["properties"].is_object() => "map".to_owned(),
            Some("object") => "map of any values".to_owned(),
            Some("integer") => "number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("string") if pattern.contains("%") => "percentage".to_owned(),
            Some("string") if pattern.contains("h)?") => "duration".to_owned(),
            Some("string") if pattern.contains("{40}") => "commit".to_owned(),
            Some("string") if pattern.starts_with("^[a-z0-9](") => "name".to_owned(),
            Some("string") => match field["format"].as_str() {
                Some("semver") => "version".to_owned(),
                Some("semver-range") => "range of versions".to_owned(),
                _ => "text".to_owned(),
            },
            _ => "any value".to_owned(),
        }
    }
}

/// One of several objects, by which field it has.
fn choices(object: &Value) -> impl Iterator<Item = &Value> {
    object["oneOf"].as_array().into_iter().flatten()
}

fn plural(one: &str) -> String {
    match one {
        "one of the following" => one.to_owned(),
        _ if one.starts_with('`') => format!("any of {one}"),
        _ => format!("{one}s"),
    }
}

/// What the field says, else what its type says; of an enum both, for the type says what each value does.
fn texts(field: &Value, of_type: &Value) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let of_field = field["description"].is_string() && !of_type["enum"].is_array();
    for one in if of_field { [field, field] } else { [of_type, field] } {
        let text = one["description"].as_str().unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// The default, unless it is made of those of the fields below.
fn default(field: &Value) -> Option<String> {
    match &field["default"] {
        Value::Null | Value::Object(Map { .. }) => None,
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => {
            Some(values.iter().map(|value| format!("`{}`", plain(value))).collect::<Vec<_>>().join(", "))
        }
        value => Some(format!("`{}`", plain(value))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
