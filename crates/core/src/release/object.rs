//! What a Kubernetes object must have before it may be in a release.

use serde_json::Value;

use crate::model::diagnostic::{Diagnostic, Place};
use crate::model::object::{OWN_NAMESPACE, ObjectKey, split_api_version};
use crate::model::suggest::nearest;

/// Largest object, in canonical bytes: what an API server takes in a request (3 MiB, `MaxRequestBodyBytes`
/// of k8s.io/apiserver).
pub const MAX_OBJECT: usize = 3 << 20;

/// Annotations under `fairlead.dev/` that content may carry.
pub const ANNOTATIONS: [&str; 3] = ["fairlead.dev/replace", "fairlead.dev/prune", HEALTH];
/// With the value [`IGNORE`], an object is healthy as soon as it is there.
const HEALTH: &str = "fairlead.dev/health";
const IGNORE: &str = "ignore";

fn own_namespace(what: &str) -> String {
    format!("{what} {OWN_NAMESPACE} can't be in a layer: there Fairlead keeps its records of the cluster")
}

const APPLYSET: &str = "applyset.kubernetes.io/";
const FAIRLEAD: &str = "fairlead.dev/";
/// Set by the server; applying an object that carries one fails, or conflicts for ever.
const SERVER_FIELDS: [&str; 3] = ["managedFields", "resourceVersion", "uid"];

/// Where the parts of an object are written, by JSON pointer from the object.
pub(super) type PlaceOf<'a> = &'a dyn Fn(&str) -> Place;

/// Whether what stands at a JSON pointer is not known yet.
pub(super) type Open<'a> = &'a dyn Fn(&str) -> bool;

/// The object's key and version.
///
/// # Errors
/// All that is wrong with it, but for what is not known yet.
pub(super) fn check(
    object: &Value,
    place: PlaceOf<'_>,
    open: Open<'_>,
) -> Result<(ObjectKey, String), Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut wrong = |pointer: &str, code: &str, message: String, hint: &str| {
        if open(pointer) {
            return;
        }
        let finding = Diagnostic::error(place(pointer), code, message);
        found.push(if hint.is_empty() { finding } else { finding.hint(hint) });
    };
    if !object.is_object() {
        wrong("", "not-an-object", "a Kubernetes object is a map".to_owned(), "");
        return Err(found);
    }
    let texts = ["/apiVersion", "/kind", "/metadata/name"].map(|pointer| (pointer, text(object, pointer)));
    let generated = object.pointer("/metadata/generateName").is_some_and(|v| !v.is_null());
    for (pointer, value) in texts {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        match value {
            Ok(_) => {}
            Err(Missing::Absent) if generated && name == "metadata.name" => {}
            Err(Missing::Absent) => {
                let hint = "every file of a layer's folder that ends in .yaml, .yml or .json holds Kubernetes objects";
                wrong(pointer, "missing-field", format!("{name} is missing"), hint);
            }
            Err(Missing::NotText) => {
                wrong(pointer, "wrong-type", format!("{name} must be a text"), "put it in quotes")
            }
        }
    }
    if generated {
        let message = "generateName makes another object on each apply".to_owned();
        wrong("/metadata/generateName", "generate-name", message, "give the object a metadata.name");
    }
    let namespace = match text(object, "/metadata/namespace") {
        Ok(namespace) if is_namespace(namespace) => Some(namespace),
        Ok(_) => {
            let message = "metadata.namespace is not a name: 1 to 63 of a-z, 0-9 and '-'".to_owned();
            wrong("/metadata/namespace", "invalid-name", message, "");
            None
        }
        Err(Missing::Absent) => None,
        Err(Missing::NotText) => {
            wrong(
                "/metadata/namespace",
                "wrong-type",
                "metadata.namespace must be a text".to_owned(),
                "put it in quotes",
            );
            None
        }
    };
    if let Ok(name) = texts[2].1
        && let Some(why) = bad_name(name)
    {
        wrong("/metadata/name", "invalid-name", format!("metadata.name {why}"), "");
    }
    for field in SERVER_FIELDS {
        let pointer = format!("/metadata/{field}");
        if object.pointer(&pointer).is_some_and(|v| !v.is_null()) {
            let message = format!("metadata.{field} is set by the API server");
            wrong(&pointer, "server-field", message, "remove it; it comes from 'kubectl get -o yaml'");
        }
    }
    found.extend(check_own_namespace(object, place, open));
    found.extend(check_stamps(object, place, open));
    if let (Ok(api_version), Ok(kind)) = (texts[0].1, texts[1].1)
        && !open("/apiVersion")
        && !open("/kind")
    {
        found.extend(check_type(api_version, kind, place));
    }
    let (Ok(api_version), Ok(kind), Ok(name), []) = (texts[0].1, texts[1].1, texts[2].1, found.as_slice())
    else {
        return Err(found);
    };
    let (group, version) = split_api_version(api_version);
    let key = ObjectKey::new(group, kind, namespace.unwrap_or_default(), name);
    Ok((key, version.to_owned()))
}

/// Whether an object lies where Fairlead keeps its own, or is that namespace.
fn check_own_namespace(object: &Value, place: PlaceOf<'_>, open: Open<'_>) -> Vec<Diagnostic> {
    let is_ours =
        |pointer: &str| text(object, pointer).is_ok_and(|name| name == OWN_NAMESPACE) && !open(pointer);
    let mut found = Vec::new();
    let mut refuse = |pointer: &str, what: &str, hint: &str| {
        found.push(Diagnostic::error(place(pointer), "own-namespace", own_namespace(what)).hint(hint));
    };
    if is_ours("/metadata/namespace") {
        refuse("/metadata/namespace", "objects in", "choose another namespace");
    }
    if text(object, "/kind").is_ok_and(|kind| kind == "Namespace") && is_ours("/metadata/name") {
        refuse("/metadata/name", "the namespace", "remove it; Fairlead makes it");
    }
    found
}

#[derive(Clone, Copy)]
enum Missing {
    Absent,
    NotText,
}

fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str, Missing> {
    match object.pointer(pointer) {
        None | Some(Value::Null) => Err(Missing::Absent),
        Some(Value::String(text)) if text.is_empty() => Err(Missing::Absent),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Missing::NotText),
    }
}

fn check_type(api_version: &str, kind: &str, place: PlaceOf<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let (group, version) = split_api_version(api_version);
    let is_group = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let fits = |text: &str| !text.is_empty() && text.len() <= 253 && text.chars().all(is_group);
    if !fits(version) || version.contains('.') || (api_version.contains('/') && !fits(group)) {
        let message = format!("'{api_version}' is not an apiVersion");
        found.push(
            Diagnostic::error(place("/apiVersion"), "invalid-type", message).expected("v1, or group/v1"),
        );
    }
    if kind.len() > 63
        || !kind.starts_with(|c: char| c.is_ascii_alphabetic())
        || !kind.chars().all(|c| c.is_ascii_alphanumeric())
    {
        found.push(Diagnostic::error(place("/kind"), "invalid-type", format!("'{kind}' is not a kind")));
    }
    if group == "fairlead.dev" {
        let message = format!("a {kind} of Fairlead's own can't be an object of a layer");
        let hint = "keep profiles, targets and fleets out of layers' folders";
        found.push(Diagnostic::error(place("/apiVersion"), "own-document", message).hint(hint));
    }
    found
}

/// Labels and annotations: texts, and none of those that Fairlead sets itself.
fn check_stamps(object: &Value, place: PlaceOf<'_>, open: Open<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for field in ["labels", "annotations"] {
        let base = format!("/metadata/{field}");
        let entries = match object.pointer(&base) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(entries)) => entries,
            Some(_) if open(&base) => continue,
            Some(_) => {
                found.push(Diagnostic::error(
                    place(&base),
                    "wrong-type",
                    format!("metadata.{field} must be a map"),
                ));
                continue;
            }
        };
        for (key, value) in entries {
            let at = || place(&format!("{base}/{}", key.replace('~', "~0").replace('/', "~1")));
            // Numbers and truth values are known as misplaced in every field of texts.
            if value.is_array() || value.is_object() {
                let message = format!("the value of '{key}' in metadata.{field} must be a text");
                found.push(Diagnostic::error(at(), "wrong-type", message));
            }
            if key == HEALTH && value.as_str().is_some_and(|value| value != IGNORE) {
                let message = format!(
                    "'{}' is no value of the annotation {HEALTH}",
                    value.as_str().unwrap_or_default()
                );
                found.push(Diagnostic::error(at(), "invalid-value", message).expected(IGNORE));
            }
            if let Some(hint) = reserved(field, key) {
                let message = format!("'{key}' in metadata.{field} is reserved");
                found.push(Diagnostic::error(at(), "reserved-key", message).hint(hint));
            }
        }
    }
    found
}

/// Why content must not carry the key.
fn reserved(field: &str, key: &str) -> Option<String> {
    if key.starts_with(APPLYSET) {
        return Some("Fairlead sets the ApplySet's labels itself; remove it".to_owned());
    }
    let name = key.strip_prefix(FAIRLEAD)?;
    if ANNOTATIONS.contains(&key) {
        return (field == "labels").then(|| "it is read as an annotation: move it".to_owned());
    }
    if name == "hold-until" {
        return Some("it is kept for later, for objects in a cluster; remove it".to_owned());
    }
    if name == "digest" {
        return Some("Fairlead sets it itself; remove it".to_owned());
    }
    Some(match nearest(key, ANNOTATIONS) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("content may carry the annotations {}", ANNOTATIONS.join(", ")),
    })
}

/// Why it is not a name. Each kind has rules of its own; this is what all have, as names are path segments
/// (`ValidatePathSegmentName` of k8s.io/apimachinery), and the longest name that the server stores.
fn bad_name(name: &str) -> Option<&'static str> {
    match name {
        "." | ".." => Some("must not be '.' or '..'"),
        _ if name.contains(['/', '%']) => Some("must not hold '/' or '%'"),
        _ if name.len() > 253 => Some("is longer than 253 bytes"),
        _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Some("must not hold white space")
        }
        _ => None,
    }
}

fn is_namespace(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}
