//! Refusals in the API server's words.

use serde_json::{Value, json};

use super::kind::Kind;
use super::managed::{Conflict, conflict_message};

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Value>,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub reason: &'static str,
    pub field: String,
    pub message: String,
}

impl Invalid {
    pub fn value(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message: format!("Required value{why}") }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message: format!("Duplicate value: {value}"),
        }
    }

    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        let message = format!("Too long: may not be more than {most} bytes");
        Self { reason: "FieldValueTooLong", field: field.into(), message }
    }

    pub fn immutable(field: impl Into<String>, value: &Value) -> Self {
        Self::value(field, value, "field is immutable")
    }
}

/// What kind and name a refusal is about.
fn about(kind: &Kind, name: &str, what: &str) -> Value {
    let mut details = json!({"kind": what});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.resource);
        Self { details: Some(about(kind, name, &kind.plural)), ..Self::new(404, "NotFound", message) }
    }

    pub fn already_exists(kind: &Kind, name: &str, deleting: bool) -> Self {
        let still = if deleting { "object is being deleted: " } else { "" };
        let message = format!("{still}{} {name:?} already exists", kind.resource);
        Self { details: Some(about(kind, name, &kind.plural)), ..Self::new(409, "AlreadyExists", message) }
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource);
        Self { details: Some(about(kind, name, &kind.plural)), ..Self::new(409, "Conflict", message) }
    }

    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// What a delete was to find is not what is there.
    pub fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let what = kind.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self { details: Some(about(kind, name, &kind.kind)), ..Self::new(409, "Conflict", message) }
    }

    pub fn apply_conflict(conflicts: &[Conflict]) -> Self {
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|conflict| {
                json!({"reason": "FieldManagerConflict", "field": conflict.field,
                    "message": format!("conflict with {}", conflict.manager)})
            })
            .collect();
        let details = Some(json!({"causes": causes}));
        Self { details, ..Self::new(409, "Conflict", conflict_message(conflicts)) }
    }

    pub fn invalid(kind: &Kind, name: &str, wrong: &[Invalid]) -> Self {
        let say = |one: &Invalid| format!("{}: {}", one.field, one.message);
        let all = match wrong {
            [one] => say(one),
            many => format!("[{}]", many.iter().map(say).collect::<Vec<_>>().join(", ")),
        };
        let causes: Vec<Value> = wrong
            .iter()
            .map(|one| json!({"reason": one.reason, "message": one.message, "field": one.field}))
            .collect();
        let mut details = about(kind, name, &kind.kind);
        details["causes"] = json!(causes);
        let message = format!("{} {name:?} is invalid: {all}", kind.qualified_kind());
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    /// The same, named by the place of the objects and not by their kind.
    pub fn invalid_resource(kind: &Kind, name: &str, wrong: &Invalid) -> Self {
        let message = format!("{} {name:?} is invalid: {}: {}", kind.resource, wrong.field, wrong.message);
        let mut details = about(kind, name, &kind.plural);
        details["causes"] = json!([{"reason": wrong.reason, "message": wrong.message, "field": wrong.field}]);
        Self { details: Some(details), ..Self::new(422, "Invalid", message) }
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.resource);
        Self { details: Some(about(kind, name, &kind.plural)), ..Self::new(403, "Forbidden", message) }
    }

    pub fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut refusal = Self::forbidden(kind, name, &why);
        if let Some(details) = &mut refusal.details {
            details["causes"] = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {namespace} is being terminated")}]);
        }
        refusal
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    pub fn no_method(kind: &Kind) -> Self {
        let details = Some(json!({"kind": kind.plural}));
        let message = "the server does not allow this method on the requested resource";
        Self { details, ..Self::new(405, "MethodNotAllowed", message) }
    }

    pub fn media_type(allowed: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {allowed}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// As a `Status`.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}
