//! What an API server's answers mean: one table, read from top to bottom; the first rule that fits counts.
//!
//! In: status code, reason, message and causes of an answer that is no success, and the verb of the request. Out:
//! what is done about it, whose fault it is, and what it means when the same object is answered so again and again
//! while the same cluster takes other writes. Each shape was either provoked on a real API server by
//! `tests/it/cluster/answers`, or is recorded with its source. Pure.

use http::Method;

pub use super::error::{Status, StatusCause};

/// Kubernetes' name of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verb {
    #[default]
    Get,
    List,
    Watch,
    Create,
    Apply,
    Patch,
    Update,
    Delete,
}

impl Verb {
    /// What Kubernetes calls a request. A list is a GET whose path ends in a resource, which the path does not tell
    /// apart from a name; ours carry a selector or a limit.
    pub fn of(method: &Method, query: &str, content_type: &str) -> Self {
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match *method {
            Method::GET if has("watch") => Self::Watch,
            Method::GET if has("labelSelector") || has("limit") => Self::List,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::DELETE => Self::Delete,
            Method::PATCH if content_type.contains("apply-patch") => Self::Apply,
            Method::PATCH => Self::Patch,
            _ => Self::Get,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Whose turn it is after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The commit's fault: it fails at once, is rolled back and quarantined.
    Commit,
    /// A person must decide: the object is held, the progress deadline is paused, and work goes on by itself when
    /// the person has acted.
    Person,
    /// The cluster's trouble: named, the progress deadline is paused, all other objects go on.
    Cluster,
    /// Tried again until it works or the progress deadline is over.
    Again,
}

/// What is done about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The server will not take this object, however often it is asked.
    Refused,
    /// A field that can't be changed: a new object where the manifest allows that, else refused.
    Immutable,
    /// Others own fields that we want to set.
    FieldConflict,
    /// A right, a setting or a version that a person has to change, in the cluster.
    NotAllowed,
    /// It, or something that it refers to, does not exist.
    NotFound,
    /// The server has no such resource: what it serves is read again.
    NoSuchResource,
    NamespaceMissing,
    NamespaceTerminating,
    /// Not the version that was meant any more; or it exists already.
    Stale,
    /// A resourceVersion that the server has forgotten.
    Expired,
    /// The credentials are not accepted.
    Unauthorized,
    /// The server as a whole asks to be left alone.
    Throttled,
    /// This request met trouble of the cluster.
    Trouble,
    /// The definition of its kind is being deleted: by somebody, and for as long as that takes.
    KindTerminating,
}

impl Class {
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Refused | Self::Immutable => Verdict::Commit,
            Self::FieldConflict | Self::NotAllowed => Verdict::Person,
            Self::NamespaceTerminating
            | Self::KindTerminating
            | Self::Unauthorized
            | Self::Throttled
            | Self::Trouble => Verdict::Cluster,
            Self::NotFound | Self::NoSuchResource | Self::NamespaceMissing | Self::Stale | Self::Expired => {
                Verdict::Again
            }
        }
    }
}

/// How the shape of an answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A test provokes it on a real API server.
    Provoked,
    /// It can't be provoked there; this is the source of the shape.
    Recorded(&'static str),
}

/// One line of the table. An empty condition fits everything.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub name: &'static str,
    pub class: Class,
    /// What it means when one object is answered so again and again while others are written.
    pub repeated: Verdict,
    /// What a person can do, where it is a person's turn.
    pub advice: &'static str,
    pub shape: Shape,
    /// It was refused, or could not be decided, by something that another object brings: a webhook, a policy, a quota,
    /// a conversion, an API server behind this one. What changes or removes that object may end it.
    pub at_admission: bool,
    verbs: &'static [Verb],
    /// First and last status code.
    codes: (u16, u16),
    reason: &'static str,
    /// The reason of one of the causes.
    cause: &'static str,
    /// What `details.kind` names; `*`: anything.
    details: &'static str,
    /// One of these stands in the message or in a cause.
    signs: &'static [&'static str],
    /// Whether the body is a `meta/v1 Status`; None: either.
    status: Option<bool>,
}

const fn rule(name: &'static str, codes: (u16, u16), class: Class) -> Rule {
    Rule {
        name,
        class,
        repeated: match class {
            Class::Refused | Class::Immutable => Verdict::Commit,
            Class::FieldConflict | Class::NotAllowed => Verdict::Person,
            Class::NamespaceTerminating | Class::KindTerminating | Class::Unauthorized | Class::Trouble => {
                Verdict::Cluster
            }
            Class::Throttled => Verdict::Person,
            _ => Verdict::Again,
        },
        advice: "",
        shape: Shape::Provoked,
        at_admission: false,
        verbs: &[],
        codes,
        reason: "",
        cause: "",
        details: "",
        signs: &[],
        status: None,
    }
}

const ANY: (u16, u16) = (0, u16::MAX);

const fn code(code: u16) -> (u16, u16) {
    (code, code)
}

impl Rule {
    const fn signs(self, signs: &'static [&'static str]) -> Self {
        Self { signs, ..self }
    }

    const fn reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    const fn cause(self, cause: &'static str) -> Self {
        Self { cause, ..self }
    }

    const fn details(self, details: &'static str) -> Self {
        Self { details, ..self }
    }

    const fn verbs(self, verbs: &'static [Verb]) -> Self {
        Self { verbs, ..self }
    }

    /// Only if the body is no `Status`.
    const fn foreign(self) -> Self {
        Self { status: Some(false), ..self }
    }

    const fn at_admission(self) -> Self {
        Self { at_admission: true, ..self }
    }

    const fn repeated(self, repeated: Verdict) -> Self {
        Self { repeated, ..self }
    }

    const fn advice(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    const fn recorded(self, source: &'static str) -> Self {
        Self { shape: Shape::Recorded(source), ..self }
    }

    fn names(&self, kind: &str) -> bool {
        match self.details {
            "" => true,
            "*" => !kind.is_empty(),
            wanted => wanted == kind,
        }
    }

    fn fits(&self, answer: &Status) -> bool {
        let (first, last) = self.codes;
        (first..=last).contains(&answer.code)
            && (self.verbs.is_empty() || self.verbs.contains(&answer.verb))
            && (self.reason.is_empty() || self.reason == answer.reason)
            && (self.cause.is_empty() || answer.has_cause(self.cause))
            && self.names(&answer.details_kind)
            && (self.signs.is_empty() || self.signs.iter().any(|sign| answer.says(sign)))
            && self.status.is_none_or(|status| status == answer.is_status)
    }
}

/// The rule for an answer. The last rule fits all.
pub fn classify(answer: &Status) -> &'static Rule {
    RULES.iter().find(|rule| rule.fits(answer)).unwrap_or(&LAST)
}

const GRANT: &str = "grant that right to the credentials in the cluster";
const BETWEEN: &str = "that is no answer of an API server: look at what stands between (a proxy, a firewall)";
const SERVES: &str = "the cluster takes other writes: look at what serves or checks this one";

/// The table. Signs of admission come first, for a webhook or a policy chooses its code itself.
pub static RULES: &[Rule] = &[
    // Admission.
    rule("policy can't be evaluated", ANY, Class::NotAllowed)
        .at_admission()
        .signs(&["failed to configure policy", "failed to configure binding"])
        .advice("mend the admission policy or its binding in the cluster"),
    rule("admission webhook denies", ANY, Class::Refused).at_admission().signs(&[" denied the request"]),
    rule("admission policy denies", ANY, Class::Refused).at_admission().signs(&["' denied request: "]),
    rule("admission webhook can't be called", ANY, Class::Trouble)
        .at_admission()
        .signs(&["failed calling webhook", "failed to call webhook"]),
    rule("admission webhook's patch does not fit", code(500), Class::Trouble)
        .at_admission()
        .signs(&["operation does not apply: doc is missing", "jsonpatch "]),
    // It names the conversion webhook that it waits for.
    rule("storage of a kind initializing", code(429), Class::Trouble)
        .at_admission()
        .signs(&["storage is (re)initializing"]),
    rule("conversion webhook can't be called", ANY, Class::Trouble)
        .at_admission()
        .signs(&["conversion webhook for"]),
    rule("definition of the kind terminating", ANY, Class::KindTerminating)
        .signs(&["while custom resource definition is terminating"]),
    // Objects that can't be read into the server's types. A server answers most of them 500, without a reason.
    rule("does not fit the schema", code(500), Class::Refused).signs(&[
        "failed to create typed patch object",
        "failed to create typed new object",
        "field not declared in schema",
        "illegal base64",
        "cannot unmarshal",
        "error decoding",
        "unable to decode",
        "unable to convert",
        "unable to parse",
        "decoding error",
        "json: unknown field",
    ]),
    rule("too large to store", ANY, Class::Refused)
        .signs(&["etcdserver: request is too large", "trying to send message larger than max"]),
    rule("too large to send", code(413), Class::Refused),
    rule("storage trouble", (500, 599), Class::Trouble)
        .signs(&["etcdserver: ", "etcd cluster is unavailable", "database space exceeded", "leader changed"])
        .recorded("etcd v3.6 api/v3rpc/rpctypes/error.go; tests/it/harness/gate.rs"),
    rule("nothing left to allocate", (500, 599), Class::Trouble)
        .signs(&["range is full"])
        .repeated(Verdict::Person)
        .advice("the cluster has no address or port left: free one or widen the range")
        .recorded("pkg/registry/core/service/ipallocator/interfaces.go: ErrFull"),
    // Who asks.
    rule("credentials not accepted", code(401), Class::Unauthorized)
        .repeated(Verdict::Person)
        .advice("the cluster takes the credentials for other kinds: look at what serves this one"),
    // What is not there.
    rule("namespace missing", code(404), Class::NamespaceMissing).details("namespaces"),
    rule("not found", code(404), Class::NotFound).reason("NotFound").details("*").repeated(Verdict::Commit),
    rule("no such resource", code(404), Class::NoSuchResource),
    // What may not be done.
    rule("namespace terminating", code(403), Class::NamespaceTerminating).cause("NamespaceTerminating"),
    rule("namespace terminating, in words", code(403), Class::NamespaceTerminating)
        .signs(&["because it is being terminated"])
        .recorded("Kubernetes before 1.17 says no cause: plugin/pkg/admission/namespace/lifecycle"),
    rule("right missing", code(403), Class::NotAllowed).signs(&["\" cannot "]).advice(GRANT),
    rule("right to grant missing", code(403), Class::NotAllowed)
        .signs(&["is attempting to grant RBAC permissions not currently held"])
        .advice(GRANT),
    rule("quota not counted yet", code(403), Class::Trouble)
        .signs(&["status unknown for quota"])
        .recorded("apiserver/pkg/admission/plugin/resourcequota/controller.go: hasUsageStats")
        .repeated(Verdict::Person)
        .advice("the cluster does not count its quotas: look at its controller manager"),
    rule("service account not there yet", code(403), Class::NotFound)
        .signs(&["error looking up service account", "no API token found for service account"])
        .repeated(Verdict::Commit)
        .recorded("plugin/pkg/admission/serviceaccount; the tests' server has that plugin switched off"),
    rule("quota or limit", code(403), Class::Refused).at_admission().reason("Forbidden").signs(&[
        "exceeded quota",
        "failed quota",
        "usage per ",
    ]),
    rule("forbidden", code(403), Class::Refused).reason("Forbidden"),
    // Others.
    rule("field conflict", code(409), Class::FieldConflict).cause("FieldManagerConflict"),
    rule("changed or there already", code(409), Class::Stale),
    rule("version forgotten", code(410), Class::Expired),
    // What the server can't do.
    rule("server-side apply unknown", code(415), Class::NotAllowed)
        .verbs(&[Verb::Apply])
        .advice("server-side apply needs Kubernetes 1.16 or later: upgrade the cluster")
        .recorded("endpoints/handlers/patch.go: 415 where apply-patch+yaml is not among the types"),
    rule("form of answer unknown", code(406), Class::NotAllowed)
        .advice("what serves this kind can't answer with metadata alone: upgrade it"),
    rule("method not allowed", code(405), Class::Refused),
    // Values.
    rule("another object of the name", code(422), Class::Stale).signs(&["metadata.uid: Invalid value"]),
    rule("immutable", code(422), Class::Immutable).signs(&[
        "immutable",
        "may not change once set",
        "updates to statefulset spec for fields other than",
        "cannot change roleRef",
        "may not be changed",
        "pod updates may not change fields other than",
        "spec is immutable after creation",
        "cannot be changed once set",
    ]),
    rule("invalid", code(422), Class::Refused),
    // Load.
    rule("too many requests", code(429), Class::Throttled)
        .advice(SERVES)
        .recorded("staging/src/k8s.io/apiserver/pkg/util/flowcontrol; tests/it/harness/gate.rs"),
    rule("request timeout", code(408), Class::Trouble)
        .repeated(Verdict::Person)
        .advice(SERVES)
        .recorded("RFC 9110, of proxies"),
    rule("aggregated API server down", (500, 599), Class::Trouble)
        .at_admission()
        .signs(&["error trying to reach service", "service unavailable"]),
    rule("unavailable", code(503), Class::Trouble)
        .at_admission()
        .repeated(Verdict::Person)
        .advice(SERVES)
        .recorded("apimachinery/pkg/api/errors/errors.go: NewServiceUnavailable; RFC 9110, of proxies"),
    rule("gateway", (502, 504), Class::Trouble)
        .repeated(Verdict::Person)
        .advice(SERVES)
        .recorded("apiserver/pkg/server/filters/timeout.go: 504 Timeout; RFC 9110, of proxies"),
    rule("server error", (500, 599), Class::Trouble).repeated(Verdict::Commit),
    // What is left.
    rule("refused on the way", (400, 499), Class::NotAllowed)
        .foreign()
        .advice(BETWEEN)
        .recorded("pages of proxies and firewalls"),
    rule("bad request", (400, 499), Class::Refused).reason("BadRequest"),
    rule("other refusal", (400, 499), Class::Refused)
        .recorded("apimachinery/pkg/apis/meta/v1/types.go: StatusReason"),
    LAST,
];

const LAST: Rule = rule("no answer of an API server", ANY, Class::NotAllowed)
    .advice(BETWEEN)
    .recorded("redirects and the like, of proxies");
