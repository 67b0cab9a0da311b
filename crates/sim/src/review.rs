//! Questions about rights and about oneself: a simulated cluster allows everything to anyone.

use serde_json::{Value, json};

use super::ask::{Ask, Path};
use super::refuse::Refusal;

/// Answers a review; None: it is none.
pub fn review(ask: &Ask, path: &Path) -> Option<Result<Value, Refusal>> {
    let kind = match (path.group.as_str(), path.plural.as_str()) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => "SelfSubjectAccessReview",
        ("authorization.k8s.io", "selfsubjectrulesreviews") => "SelfSubjectRulesReview",
        ("authentication.k8s.io", "selfsubjectreviews") => "SelfSubjectReview",
        _ => return None,
    };
    if path.version != "v1" || ask.method != http::Method::POST {
        return None;
    }
    // kubectl sends protobuf, which is not read here: the answer is the same whatever is asked.
    let mut review = serde_json::from_slice(&ask.body).unwrap_or_else(|_| json!({"spec": {}}));
    if !review.is_object() {
        return Some(Err(Refusal::bad_request("the body is no object")));
    }
    let all = json!(["*"]);
    review["kind"] = json!(kind);
    review["apiVersion"] = json!(format!("{}/v1", path.group));
    review["status"] = match kind {
        "SelfSubjectAccessReview" => {
            json!({"allowed": true, "reason": "a simulated cluster allows everything"})
        }
        "SelfSubjectRulesReview" => json!({"incomplete": false,
            "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
            "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}]}),
        _ => {
            json!({"userInfo": {"username": "anyone", "groups": ["system:masters", "system:authenticated"]}})
        }
    };
    Some(Ok(review))
}
