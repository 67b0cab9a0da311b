//! Deliveries through the public way in: [`Receiver::receive`].

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const AFTER: &str = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0";
const ZEROS: &str = "0000000000000000000000000000000000000000";

/// A receiver with its secret's file.
struct World {
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for World {
    type Target = Receiver;
    fn deref(&self) -> &Receiver {
        &self.receiver
    }
}

fn receiver(kind: ForgeKind, url: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let receiver = Receiver::open(kind, &path, watched(kind, url, None)).unwrap();
    World { receiver, _folder: folder }
}

fn settings(kind: ForgeKind, repository: Option<&str>) -> ForgeSettings {
    let settings = json!({"kind": kind, "repository": repository});
    serde_json::from_value(settings).unwrap()
}

fn watched(kind: ForgeKind, url: &str, repository: Option<&str>) -> Watched {
    Watched::of(&settings(kind, repository), &url.parse().unwrap())
}

fn signed(kind: ForgeKind, event: &str, id: &str, body: &[u8]) -> HeaderMap {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let pairs = match kind {
        ForgeKind::Github => [
            ("x-hub-signature-256", format!("sha256={hex}")),
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", id.to_owned()),
        ],
        ForgeKind::Gitea | ForgeKind::Forgejo => [
            ("x-gitea-signature", hex),
            ("x-gitea-event", event.to_owned()),
            ("x-gitea-delivery", id.to_owned()),
        ],
        ForgeKind::Gitlab => [
            ("x-gitlab-token", SECRET.to_owned()),
            ("x-gitlab-event", event.to_owned()),
            ("x-gitlab-event-uuid", id.to_owned()),
        ],
        ForgeKind::Generic => [
            ("x-fairlead-signature-256", format!("sha256={hex}")),
            ("x-fairlead-event", event.to_owned()),
            ("x-fairlead-delivery", id.to_owned()),
        ],
    };
    let header = |(name, value): (&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    };
    pairs.into_iter().map(header).collect()
}

fn deliver(receiver: &Receiver, event: &str, id: &str, body: &[u8]) -> Result<Hint, Refused> {
    let headers = signed(receiver.kind, event, id, body);
    receiver.receive(receiver.kind.as_str(), &headers, body, Timestamp::UNIX_EPOCH)
}

fn github_push(reference: &str, after: &str, url: &str) -> Value {
    json!({
        "ref": reference, "before": ZEROS, "after": after, "created": false, "deleted": after == ZEROS,
        "forced": false, "head_commit": null, "commits": [],
        "repository": {"full_name": "platform/fleet", "clone_url": url, "ssh_url": null, "default_branch": "main"},
    })
}

fn gitlab_push(reference: &str, after: &str, url: &str) -> Value {
    json!({
        "object_kind": "push", "ref": reference, "before": ZEROS, "after": after, "checkout_sha": after,
        "project": {"id": 1, "path_with_namespace": "platform/fleet", "git_http_url": url},
        "repository": {"name": "fleet"}, "commits": [], "total_commits_count": 0,
    })
}

const URL: &str = "https://git.example.com/platform/fleet.git";

#[test]
fn pushes_and_pull_requests_of_every_forge_become_the_same_hints() {
    let branch = |after: Option<&str>| Hint::Branch {
        branch: "main".into(),
        after: after.map(|a| a.parse().unwrap()),
    };
    let pull = json!({"action": "opened", "number": 7, "pull_request": {"draft": true},
        "repository": {"clone_url": URL}});
    let merge = json!({"object_attributes": {"iid": 7, "action": "open"}, "project": {"git_http_url": URL}});
    use ForgeKind::{Forgejo, Generic, Gitea, Github, Gitlab};
    let cases = [
        (Github, "push", github_push("refs/heads/main", AFTER, URL), branch(Some(AFTER))),
        (Github, "push", github_push("refs/heads/main", ZEROS, URL), branch(None)),
        (Github, "push", github_push("refs/tags/v1.0.0", AFTER, URL), Hint::Tag),
        (Github, "pull_request", pull.clone(), Hint::Pull { number: 7 }),
        (Gitea, "push", github_push("refs/heads/main", AFTER, URL), branch(Some(AFTER))),
        (Gitea, "pull_request_sync", pull.clone(), Hint::Pull { number: 7 }),
        (Forgejo, "pull_request", pull, Hint::Pull { number: 7 }),
        (Gitlab, "Push Hook", gitlab_push("refs/heads/main", AFTER, URL), branch(Some(AFTER))),
        (Gitlab, "Tag Push Hook", gitlab_push("refs/tags/v1", AFTER, URL), Hint::Tag),
        (Gitlab, "Merge Request Hook", merge, Hint::Pull { number: 7 }),
        (Generic, "", json!({"ref": "refs/heads/main", "after": AFTER}), branch(Some(AFTER))),
        (Generic, "", json!({"ref": "refs/heads/main"}), branch(None)),
    ];
    for (kind, event, body, wanted) in cases {
        let receiver = receiver(kind, "git@git.example.com:platform/fleet.git");
        let found = deliver(&receiver, event, "1", body.to_string().as_bytes());
        assert_eq!(found, Ok(wanted), "{kind:?} {event} {body}");
    }
}

#[test]
fn threat_regex_injection_a_repository_is_compared_as_text_and_under_any_host() {
    let ours = "https://git.example.com/platform/fleet.git";
    let cases = [
        (ours, true),
        ("https://git.example.com/Platform/Fleet", true),
        ("ssh://git@git.example.com:2222/platform/fleet.git", true),
        ("git@git.example.com:platform/fleet.git", true),
        // The same forge under another name; a sender who knows the secret is believed.
        ("ssh://git@altssh.example.com:443/platform/fleet.git", true),
        ("https://git.example.com/platform/fleets.git", false),
        ("https://git.example.com/platform/a.*", false),
        ("https://git.example.com/.*", false),
        ("https://git.example.com/git.example.com/platform/fleet.git", false),
        ("platform/fleet", false),
        ("", false),
    ];
    let push = |name: Option<&str>, address: &str| {
        let mut body = github_push("refs/heads/main", AFTER, address);
        body["repository"]["full_name"] = json!(name);
        body.to_string()
    };
    for (named, watched) in cases {
        let body = push(None, named);
        let found = deliver(&receiver(ForgeKind::Github, ours), "push", "1", body.as_bytes()).unwrap();
        assert_eq!(matches!(found, Hint::Branch { .. }), watched, "{named}: {found:?}");
    }
    // A repository that is called like a pattern watches itself and nothing else.
    let pattern = receiver(ForgeKind::Github, "https://git.example.com/a/a.*");
    for (named, watched) in
        [("https://git.example.com/a/a.*", true), ("https://git.example.com/a/abc", false)]
    {
        let found = deliver(&pattern, "push", named, push(None, named).as_bytes()).unwrap();
        assert_eq!(matches!(found, Hint::Branch { .. }), watched, "{named}: {found:?}");
    }
    // The name decides where there is one.
    let receiver = receiver(ForgeKind::Github, ours);
    let found = deliver(&receiver, "push", "2", push(Some("evil/fleet\n\u{1b}[31m"), ours).as_bytes());
    assert_eq!(found, Ok(Hint::OtherRepository { named: "evil/fleet31m".to_owned() }));
    let found =
        deliver(&receiver, "push", "3", push(Some("Platform/Fleet"), "https://elsewhere/x").as_bytes());
    assert!(matches!(found, Ok(Hint::Branch { .. })), "{found:?}");
}

#[test]
fn the_signature_and_the_name_decide_whatever_the_host_is_called() {
    use ForgeKind::{Gitea, Github, Gitlab};
    // What is followed, forge.repository, and the name in the delivery.
    let cases = [
        (Github, "ssh://git@ssh.github.com:443/org/fleet.git", None, "org/fleet", true),
        (Github, "ssh://git@localhost:1/org/fleet.git", Some("org/fleet"), "org/fleet", true),
        (Github, "https://git.internal/mirrors/x.git", Some("Org/Fleet"), "org/fleet", true),
        (Github, "https://git.internal/org/fleet.git", Some("org/other"), "org/fleet", false),
        (Github, "https://git.internal/org/fleet.git", None, "org/other", false),
        (Gitlab, "git@altssh.gitlab.com:group/sub/fleet.git", None, "group/sub/fleet", true),
        (Gitlab, "https://example.com/gitlab/group/fleet.git", None, "group/fleet", true),
        (Gitlab, "https://example.com/group/sub/fleet.git", None, "fleet", false),
        (Gitea, "https://example.com/gitea/org/fleet.git", None, "org/fleet", true),
        (Gitea, "https://example.com/gitea/org/fleet.git", Some("org/fleet"), "org/fleet", true),
    ];
    for (kind, url, repository, named, ours) in cases {
        let is = watched(kind, url, repository).is(&Named::new(Some(named.to_owned()), [None]));
        assert_eq!(is, ours, "{kind:?} {url} {repository:?} {named}");
    }
    // Without a name, by the path of an address.
    let address = |kind, url: &str, named: &str| {
        watched(kind, url, None).is(&Named::new(None, [Some(named.to_owned())]))
    };
    assert!(address(Gitea, "https://example.com/gitea/org/fleet.git", "https://other/gitea/org/fleet"));
    assert!(address(Gitea, "https://example.com/gitea/org/fleet.git", "git@other:org/fleet.git"));
    assert!(!address(Gitea, "https://example.com/gitea/org/fleet.git", "https://other/x/org/fleet"));
}

/// As GitHub and Gitea send what was asked for with the content type of a form.
#[test]
fn a_form_is_read_like_json() {
    let encoded = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
        let encode = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(encode).collect::<String>()
    };
    let mut body = github_push("refs/heads/main", AFTER, URL);
    body["head_commit"] = json!({"message": "100% of a+b & c=d \u{e9}"});
    let payload = body.to_string();
    let form = format!("payload={}", encoded(&payload));
    for kind in [ForgeKind::Github, ForgeKind::Gitea, ForgeKind::Forgejo] {
        let receiver = receiver(kind, URL);
        let receive = |signed_over: &[u8], id: &str, body: &str, content_type: &'static str| {
            let mut headers = signed(kind, "push", id, signed_over);
            headers.insert("content-type", HeaderValue::from_static(content_type));
            receiver.receive(kind.as_str(), &headers, body.as_bytes(), Timestamp::UNIX_EPOCH)
        };
        let form_type = "application/x-www-form-urlencoded; charset=utf-8";
        assert!(
            matches!(receive(form.as_bytes(), "1", &form, form_type), Ok(Hint::Branch { .. })),
            "{kind:?}"
        );
        // Gitea signs what is in the field.
        let over_payload = receive(payload.as_bytes(), "2", &form, form_type);
        match kind {
            ForgeKind::Github => assert_eq!(over_payload, Err(Refused::Unauthorized)),
            _ => assert!(matches!(over_payload, Ok(Hint::Branch { .. })), "{kind:?} {over_payload:?}"),
        }
        assert_eq!(receive(b"else", "3", &form, form_type), Err(Refused::Unauthorized));
        for bad in ["", "payload=", "payload=%7", "payload=%zz", "else=1", "payload"] {
            let found = receive(bad.as_bytes(), "4", bad, form_type);
            assert!(matches!(found, Err(Refused::Malformed(_))), "{kind:?} {bad}: {found:?}");
        }
        assert!(matches!(
            receive(form.as_bytes(), "5", &form, "application/json"),
            Err(Refused::Malformed(_))
        ));
    }
}

#[test]
fn threat_unauthenticated_refresh_a_bad_signature_is_told_before_a_bad_body() {
    let receiver = receiver(ForgeKind::Github, URL);
    let body = b"{";
    assert!(matches!(deliver(&receiver, "push", "1", body), Err(Refused::Malformed(_))));
    let mut headers = signed(ForgeKind::Github, "push", "2", body);
    for wrong in [None, Some(""), Some("sha256="), Some("sha256=00")] {
        headers.remove("x-hub-signature-256");
        if let Some(wrong) = wrong {
            headers.insert("x-hub-signature-256", HeaderValue::from_static(wrong));
        }
        let found = receiver.receive("github", &headers, body, Timestamp::UNIX_EPOCH);
        assert_eq!(found, Err(Refused::Unauthorized), "{wrong:?}");
    }
    let found = receiver.receive("gitea", &headers, body, Timestamp::UNIX_EPOCH);
    assert_eq!(found, Err(Refused::NoSource));
}

#[test]
fn a_replay_is_ignored_and_a_malformed_delivery_does_not_use_its_number_up() {
    let receiver = receiver(ForgeKind::Github, URL);
    let body = github_push("refs/heads/main", AFTER, URL).to_string();
    assert!(matches!(deliver(&receiver, "push", "1", b"{}"), Err(Refused::Malformed(_))));
    assert!(matches!(deliver(&receiver, "push", "1", body.as_bytes()), Ok(Hint::Branch { .. })));
    assert!(matches!(deliver(&receiver, "push", "1", body.as_bytes()), Ok(Hint::Ignored(_))));
    assert!(matches!(deliver(&receiver, "push", "2", body.as_bytes()), Ok(Hint::Branch { .. })));
}

#[test]
fn threat_webhook_panics_what_lacks_or_twists_its_parts_is_malformed() {
    for kind in [ForgeKind::Github, ForgeKind::Gitea, ForgeKind::Gitlab, ForgeKind::Generic] {
        let (push, pull) = match kind {
            ForgeKind::Gitlab => ("Push Hook", "Merge Request Hook"),
            _ => ("push", "pull_request"),
        };
        let receiver = receiver(kind, URL);
        let bodies = [
            "",
            "{}",
            "[]",
            "null",
            "[[]]",
            "{\"ref\":null}",
            "{\"ref\":[]}",
            "{\"ref\":{}}",
            "\u{0}",
            r#"{"ref":"refs/heads/main","after":5,"repository":null}"#,
            r#"{"ref":"refs/heads/main","ref":"x","repository":{}}"#,
            r#"{"number":-1,"repository":{}}"#,
            r#"{"number":99999999999999999999999,"repository":{}}"#,
            r#"{"object_attributes":null,"project":{}}"#,
            "payload=%7B%7D",
            &"[".repeat(100_000),
        ];
        for body in bodies {
            for event in [push, pull] {
                let found = deliver(&receiver, event, "1", body.as_bytes());
                let text = &body[..body.len().min(60)];
                assert!(matches!(found, Err(Refused::Malformed(_))), "{kind:?} {event} {text}: {found:?}");
            }
        }
        if kind != ForgeKind::Generic {
            let other = deliver(&receiver, "star", "1", b"{}");
            assert!(matches!(other, Ok(Hint::Ignored(_))), "a foreign event is ignored unread: {other:?}");
            let null = r#"{"ref":"refs/heads/main","repository":null,"project":null}"#;
            assert!(matches!(deliver(&receiver, push, "1", null.as_bytes()), Err(Refused::Malformed(_))));
        }
    }
}

/// Any JSON, out of the words that deliveries are made of.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "ref",
        "after",
        "before",
        "repository",
        "project",
        "clone_url",
        "git_http_url",
        "number",
        "commits",
        "object_attributes",
        "iid",
        "pull_request",
        "refs/heads/main",
        AFTER,
        ZEROS,
        URL,
        "",
        "é\u{0}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

fn never_panics(kind: ForgeKind, event: &str, body: &[u8]) {
    let receiver = receiver(kind, URL);
    match deliver(&receiver, event, "1", body) {
        Ok(_) | Err(Refused::Malformed(_)) => {}
        other => panic!("{kind:?} {event} {:?}: {other:?}", String::from_utf8_lossy(body)),
    }
}

const EVENTS: [&str; 7] =
    ["push", "pull_request", "pull_request_sync", "Push Hook", "Tag Push Hook", "Merge Request Hook", "ping"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_signed_body_makes_a_panic(
        kind in prop::sample::select(ForgeKind::ALL.to_vec()),
        event in prop::sample::select(EVENTS.to_vec()),
        value in any_json(),
        junk in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = value.to_string();
        never_panics(kind, event, text.as_bytes());
        never_panics(kind, event, &text.as_bytes()[..cut.index(text.len() + 1).min(text.len())]);
        never_panics(kind, event, &junk);
    }

    #[test]
    fn no_header_makes_a_panic_or_passes_for_a_signature(
        kind in prop::sample::select(ForgeKind::ALL.to_vec()),
        value in prop::collection::vec(0x20u8..0x7f, 0..100),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let names = ["x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-gitlab-token",
            "x-fairlead-signature-256", "webhook-id", "webhook-timestamp", "webhook-signature", "x-github-event"];
        let value = HeaderValue::from_bytes(&value).unwrap();
        let headers = names.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect();
        let found = receiver(kind, URL).receive(kind.as_str(), &headers, &body, Timestamp::UNIX_EPOCH);
        prop_assert_eq!(found, Err(Refused::Unauthorized));
    }
}

/// The fuzz target: `FAIRLEAD_FUZZ_SECONDS=600 cargo test --lib webhook::tests::fuzz -- --ignored`.
#[test]
#[ignore = "runs for as long as it is told to; by hand"]
#[allow(clippy::disallowed_methods, reason = "its only setting")]
fn fuzz() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let seconds = std::env::var("FAIRLEAD_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(600);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let receivers = ForgeKind::ALL.map(|kind| receiver(kind, URL));
    let mut runner = TestRunner::default();
    let seeds = [
        github_push("refs/heads/main", AFTER, URL).to_string(),
        gitlab_push("refs/heads/main", AFTER, URL).to_string(),
        json!({"action": "opened", "number": 7, "repository": {"clone_url": URL}}).to_string(),
    ];
    let (mut cases, mut taken) = (0u64, 0u64);
    while std::time::Instant::now() < until {
        let body = if fastrand::bool() {
            any_json().new_tree(&mut runner).unwrap().current().to_string().into_bytes()
        } else {
            mutated(fastrand::choice(&seeds).unwrap().as_bytes())
        };
        for receiver in &receivers {
            let event = fastrand::choice(EVENTS).unwrap();
            let found = deliver(receiver, event, &fastrand::u16(..).to_string(), &body);
            assert!(!matches!(found, Err(Refused::Unauthorized | Refused::NoSource)), "{found:?}");
            taken += u64::from(found.is_ok());
            cases += 1;
        }
    }
    assert!(taken > 0 && taken < cases);
    println!("{cases} deliveries, {taken} of them taken");
}

/// Bytes changed, left out, doubled and moved.
fn mutated(seed: &[u8]) -> Vec<u8> {
    let mut body = seed.to_vec();
    for _ in 0..fastrand::usize(1..6) {
        let at = fastrand::usize(..body.len().max(1));
        match fastrand::u8(0..5) {
            0 if !body.is_empty() => body[at] = fastrand::u8(..),
            1 if !body.is_empty() => drop(body.remove(at)),
            2 => body.insert(at.min(body.len()), *fastrand::choice(b"{}[]\",:0-9enull\\").unwrap()),
            3 => body.truncate(at),
            _ => {
                let end = (at + fastrand::usize(..32)).min(body.len());
                let piece = body.get(at..end).unwrap_or_default().to_vec();
                body.extend(piece);
            }
        }
    }
    body
}
