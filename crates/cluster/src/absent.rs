//! What kind of nothing a server answers: no such object, no such resource, or a refusal at the door.

use super::error::ApiError;

/// Words of a refusal by what stands between a request and its object: admission, quotas, conversion.
const AT_ADMISSION: [&str; 9] = [
    "admission webhook",
    "failed calling webhook",
    "failed to call webhook",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
    "exceeded quota",
    "failed quota",
    "conversion webhook for",
    "usage per ",
];

impl ApiError {
    /// Whether the object does not exist. A server that does not know the resource in this version says nothing of
    /// the object.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.code == 404 && status.reason == "NotFound" && !status.details_kind.is_empty()
            }
            _ => false,
        }
    }

    /// Whether the server does not know the resource, as when a version is not served any more.
    pub fn is_no_such_resource(&self) -> bool {
        matches!(self, Self::Status(status) if status.code == 404) && !self.is_gone()
    }

    /// Whether an object can't be made because its CRD is being deleted: by somebody, and for as long as that takes.
    pub fn of_terminating_crd(&self) -> bool {
        const WORDS: &str = "while custom resource definition is terminating";
        matches!(self, Self::Status(status) if status.code >= 400 && status.message.contains(WORDS))
    }

    /// Whether a request was refused, or could not be decided, by something that another object brings: a webhook, a
    /// policy, a quota, a conversion, an API server behind this one.
    pub fn at_admission(&self) -> bool {
        let Self::Status(status) = self else { return false };
        let says = AT_ADMISSION.iter().any(|words| status.message.contains(words));
        status.code == 503 || (status.code >= 400 && says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;

    fn status(code: u16, body: &str) -> ApiError {
        ApiError::Status(Box::new(Status::read(code, None, body.as_bytes())))
    }

    #[test]
    fn a_page_that_is_not_found_says_nothing_of_an_object() {
        let page = status(404, "404 page not found\n");
        assert!(page.is_no_such_resource() && !page.is_gone());
        let none = r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404,
            "message":"the server could not find the requested resource","details":{}}"#;
        assert!(status(404, none).is_no_such_resource());
        let gone = r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404,
            "message":"ovens.repro.example \"two\" not found","details":{"name":"two","group":"repro.example","kind":"ovens"}}"#;
        assert!(status(404, gone).is_gone() && !status(404, gone).is_no_such_resource());
        assert!(!status(500, gone).is_gone());
    }

    #[test]
    fn what_refuses_at_the_door_is_known_by_its_words() {
        let says = |code: u16, message: &str| {
            let body = serde_json::json!({"kind": "Status", "message": message, "code": code});
            status(code, &body.to_string()).at_admission()
        };
        assert!(says(500, "Internal error occurred: failed calling webhook \"v.example\": refused"));
        assert!(says(403, "admission webhook \"v.example\" denied the request: no"));
        assert!(says(
            422,
            "maps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request"
        ));
        assert!(says(403, "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1"));
        assert!(says(503, "the server is currently unable to handle the request"));
        assert!(!says(403, "configmaps is forbidden: User \"x\" cannot create resource"));
        assert!(!says(422, "spec.replicas: Invalid value"));
    }
}
