//! Answers of real API servers, and what they mean.

use std::time::Duration;

use crate::error::{ApiError, Meaning, Status};
use crate::fields::FieldConflict;
use fairlead_core::model::object::ObjectKey;

fn key(kind: &str) -> ObjectKey {
    ObjectKey::new("", kind, "shop", "web")
}

fn meaning(kind: &str, code: u16, body: &str) -> Meaning {
    let status = Status::read(code, None, body.as_bytes());
    ApiError::Status(Box::new(status)).meaning(&key(kind))
}

fn status(code: u16, reason: &str, message: &str, details: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":{},"reason":"{reason}","details":{{{details}}},"code":{code}}}"#,
        serde_json::to_string(message).unwrap()
    )
}

/// What is expected, the kind, code, reason and message.
const ANSWERS: &str = r#"
refused|Deployment|422|Invalid|Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0
immutable|Deployment|422|Invalid|Deployment.apps "web" is invalid: spec.selector: Invalid value: {}: field is immutable
immutable|StatefulSet|422|Invalid|StatefulSet.apps "db" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' are forbidden
immutable|Service|422|Invalid|Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.9"]: may not change once set
immutable|RoleBinding|422|Invalid|RoleBinding "x" is invalid: roleRef: Invalid value: {}: cannot change roleRef
refused|Pod|403|Forbidden|pods "web" is forbidden: violates PodSecurity "restricted:latest"
refused|Pod|400|BadRequest|admission webhook "policy.example.com" denied the request: no
refused|Pod|400|BadRequest|failed to create typed patch object: .spec.nope: field not declared in schema
refused|Secret|500||illegal base64 data at input byte 0
stalled|Pod|500||etcdserver: request timed out
stalled|Pod|500|InternalError|Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: Post "https://x": dial tcp: connection refused
stalled|Pod|403|Forbidden|failed calling webhook "x.example.com": no endpoints
stalled|Pod|504|Timeout|Timeout: request did not complete within requested timeout
stalled|Pod|429|TooManyRequests|The request cannot be processed at this time
unauthorized|Pod|401|Unauthorized|Unauthorized
expired|Pod|410|Expired|too old resource version: 1 (2)
"#;

fn name(meaning: &Meaning) -> &'static str {
    match meaning {
        Meaning::Refused(_) => "refused",
        Meaning::Immutable(_) => "immutable",
        Meaning::Stalled { .. } => "stalled",
        Meaning::Unauthorized => "unauthorized",
        Meaning::Expired => "expired",
        _ => "other",
    }
}

#[test]
fn refusals_fail_and_the_clusters_own_trouble_waits() {
    for line in ANSWERS.trim().lines() {
        let [expected, kind, code, reason, message] = line.splitn(5, '|').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let code = code.parse().unwrap();
        assert_eq!(name(&meaning(kind, code, &status(code, reason, message, ""))), expected, "{line}");
    }
    assert_eq!(name(&meaning("Pod", 503, "upstream connect error")), "stalled");
}

#[test]
fn what_is_missing_is_told_apart() {
    let missing = |name: &str, kind: &str| {
        let details = format!("\"name\":\"{name}\",\"kind\":\"{kind}\"");
        meaning("Pod", 404, &status(404, "NotFound", &format!("{kind} \"{name}\" not found"), &details))
    };
    assert_eq!(missing("shop", "namespaces"), Meaning::NamespaceMissing);
    assert_eq!(missing("web", "pods"), Meaning::NotFound);
    assert_eq!(meaning("Widget", 404, "404 page not found\n"), Meaning::NoSuchResource);
}

#[test]
fn a_terminating_namespace_is_waited_for() {
    let body = status(
        403,
        "Forbidden",
        "configmaps \"web\" is forbidden: unable to create new content in namespace shop because it is being terminated",
        r#""causes":[{"reason":"NamespaceTerminating","message":"namespace shop is being terminated","field":"metadata.namespace"}]"#,
    );
    assert_eq!(meaning("ConfigMap", 403, &body), Meaning::NamespaceTerminating);
}

#[test]
fn conflicts_name_managers_and_fields() {
    let body = status(
        409,
        "Conflict",
        "Apply failed with 2 conflicts",
        r#""causes":[{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-client-side-apply\" using v1","field":".data.a"},
                     {"reason":"FieldManagerConflict","message":"conflict with \"hpa\" with subresource \"scale\" using apps/v1","field":".spec.replicas"}]"#,
    );
    let conflict =
        |manager: &str, field: &str| FieldConflict { manager: manager.into(), field: field.into() };
    let expected = vec![conflict("kubectl-client-side-apply", ".data.a"), conflict("hpa", ".spec.replicas")];
    assert_eq!(meaning("ConfigMap", 409, &body), Meaning::Conflict(expected));
    let stale = status(409, "Conflict", "the object has been modified", "");
    assert_eq!(meaning("ConfigMap", 409, &stale), Meaning::Stale);
}

#[test]
fn the_server_says_when_to_come_back() {
    let status =
        Status::read(429, Some(Duration::from_secs(7)), b"Too many requests, please try again later.\n");
    let error = ApiError::Status(Box::new(status));
    assert_eq!(error.throttled(), Some(Some(Duration::from_secs(7))));
    assert!(matches!(error.meaning(&key("Pod")), Meaning::Stalled { retry_after: Some(_), .. }));
}

#[test]
fn an_answer_about_a_secret_says_no_value() {
    const CANARY: &str = "s3cr3t-canary";
    let bodies = [
        status(
            422,
            "Invalid",
            &format!("Secret \"web\" is invalid: data[{CANARY}x]: Invalid value: \"{CANARY}\""),
            &format!(
                r#""causes":[{{"reason":"FieldValueInvalid","message":"Invalid value: \"{CANARY}\"","field":"type"}}]"#
            ),
        ),
        status(
            400,
            "BadRequest",
            &format!("admission webhook \"policy.example.com\" denied the request: {CANARY}"),
            "",
        ),
        status(
            400,
            "BadRequest",
            &format!("admission webhook \"{CANARY} {CANARY}\" denied the request: {CANARY}"),
            "",
        ),
        status(500, "InternalError", &format!("failed calling webhook \"a.example.com\": {CANARY}"), ""),
        format!("plain {CANARY}"),
    ];
    for body in bodies {
        let meaning = meaning("Secret", 422, &body);
        assert!(!format!("{meaning:?}").contains(CANARY), "{meaning:?}");
    }
    let body = status(422, "Invalid", "x", r#""causes":[{"field":"type","message":"m","reason":"r"}]"#);
    assert_eq!(meaning("Secret", 422, &body), Meaning::Refused("Invalid (422) at type".into()));
}

fn error(code: u16, body: &str) -> ApiError {
    ApiError::Status(Box::new(Status::read(code, None, body.as_bytes())))
}

#[test]
fn a_page_that_is_not_found_says_nothing_of_an_object() {
    let page = error(404, "404 page not found\n");
    assert!(page.is_no_such_resource() && !page.is_gone());
    let none = status(404, "NotFound", "the server could not find the requested resource", "");
    assert!(error(404, &none).is_no_such_resource() && !error(404, &none).is_gone());
    let details = r#""name":"two","group":"repro.example","kind":"ovens""#;
    let gone = status(404, "NotFound", "ovens.repro.example \"two\" not found", details);
    assert!(error(404, &gone).is_gone() && !error(404, &gone).is_no_such_resource());
    assert!(!error(500, &gone).is_gone());
    let denied = status(404, "NotFound", "admission webhook \"v.example\" denied the request: no", details);
    assert!(!error(404, &denied).is_gone() && !error(404, &denied).is_no_such_resource());
}

#[test]
fn what_another_object_brings_is_told_apart() {
    let at = |code: u16, reason: &str, message: &str| {
        error(code, &status(code, reason, message, "")).at_admission()
    };
    assert!(at(
        500,
        "InternalError",
        "Internal error occurred: failed calling webhook \"v.example\": refused"
    ));
    assert!(at(403, "Forbidden", "admission webhook \"v.example\" denied the request: no"));
    let policy = "maps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
    assert!(at(422, "Invalid", policy));
    assert!(at(403, "Forbidden", "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1"));
    assert!(at(403, "Forbidden", "pods \"a\" is forbidden: maximum memory usage per Container is 1Gi"));
    assert!(at(500, "", "conversion webhook for repro.example/v2, Kind=Oven failed: Post: refused"));
    assert!(at(503, "ServiceUnavailable", "the server is currently unable to handle the request"));
    assert!(!at(403, "Forbidden", "configmaps is forbidden: User \"x\" cannot create resource"));
    assert!(!at(422, "Invalid", "spec.replicas: Invalid value"));
    let words = "ovens.repro.example \"a\" is forbidden: create not allowed while custom resource definition is \
                 terminating";
    assert!(error(403, &status(403, "Forbidden", words, "")).of_terminating_kind());
}

#[test]
fn values_stand_as_values_and_not_as_go_prints_them() {
    let says = |message: &str| match meaning("Pod", 500, &status(500, "", message, "")) {
        Meaning::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    let prefix = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): ";
    for (message, wanted) in [
        (
            ".spec.replicas: expected numeric (int or float), got &value.valueUnstructured{Value:\"2\"}",
            ".spec.replicas: expected numeric (int or float), got \"2\"",
        ),
        (".spec: expected map, got &{[a b]}", ".spec: expected map, got [a b]"),
        (
            ".data.a: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"b\":1}}, .x: field not declared in schema",
            ".data.a: expected string, got map[string]interface {}{\"b\":1}, .x: field not declared in schema",
        ),
        (
            ".a: expected string, got &value.valueUnstructured{Value:1",
            ".a: expected string, got &value.valueUnstructured{Value:1",
        ),
    ] {
        assert_eq!(says(&format!("{prefix}{message}")), wanted);
    }
    let long =
        format!("{prefix}.a: expected list, got &value.valueUnstructured{{Value:\"{}\"}}", "x".repeat(5_000));
    assert!(says(&long).len() < 110, "{}", says(&long));
}
