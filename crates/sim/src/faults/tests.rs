//! Which requests are struck, and what becomes of them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use super::{Fault, Faults, Faulty, Rule, Script, Wait};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

/// What became of a request to a cluster that answers everything with `{}`.
async fn ask(faults: &Faults, method: &str, path: &str) -> Result<(u16, String), String> {
    let inner = tower::service_fn(|_: Request<Bytes>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("{}"))))
    });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Bytes::from(r#"{"metadata":{"name":"a"}}"#))
        .unwrap();
    let answer =
        Faulty::new(inner, faults.clone()).oneshot(request).await.map_err(|error| error.to_string())?;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((code, String::from_utf8_lossy(&body).into_owned()))
}

fn faults(rule: Rule) -> Faults {
    Faults::new("edge-001", 1, &[rule])
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let map = format!("{MAPS}/a");
    let watch = format!("{MAPS}?watch=1");
    let table = [
        (Fault::Throttle, "GET", &*map, "429", "TooManyRequests"),
        (Fault::Error, "GET", &map, "503", "ServiceUnavailable"),
        (Fault::LostReply, "PUT", &map, "", "broke before the answer"),
        (Fault::LostReply, "GET", &map, "200", "{}"),
        (Fault::Dead, "GET", &map, "", "dead"),
        (Fault::Quota, "POST", MAPS, "403", "is forbidden: exceeded quota"),
        (Fault::Quota, "GET", &map, "200", "{}"),
        (Fault::Admission, "PUT", &map, "403", "denied the request"),
        (Fault::WebhookDown, "DELETE", &map, "500", "failed calling webhook"),
        (Fault::Gone, "GET", &watch, "200", r#"{"type":"ERROR","object""#),
        (Fault::Gone, "GET", &format!("{MAPS}?limit=1&continue=x"), "410", "Expired"),
        (Fault::Gone, "GET", MAPS, "200", "{}"),
    ];
    for (fault, method, path, code, words) in table {
        let (said, text) = match ask(&faults(Rule::new(fault)), method, path).await {
            Ok((said, text)) => (said.to_string(), text),
            Err(text) => (String::new(), text),
        };
        assert!(said == code && text.contains(words), "{fault:?} {method} {path}: {said} {text}");
    }
    let start = tokio::time::Instant::now();
    let slow = Rule { wait: Some(Wait::millis(100)), ..Rule::new(Fault::Latency) };
    ask(&faults(slow), "GET", &map).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    let never = faults(Rule::new(Fault::HalfOpen));
    let answer = tokio::time::timeout(Duration::from_millis(50), ask(&never, "GET", &map)).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_rule_strikes_what_it_names_and_no_more() {
    let script = "\
rules:
- {fault: error, code: 500, verbs: [get], path: '*/configmaps/a', skip: 1, times: 2, clusters: [edge-*]}
- {fault: throttle, from: 1500ms, until: 3s, verbs: [list]}
";
    let rules = Script::parse("faults.yaml", script.as_bytes()).unwrap().rules;
    let faults = Faults::new("edge-001", 1, &rules);
    let code = async |path: &str| ask(&faults, "GET", path).await.unwrap().0;
    let (a, b) = (format!("{MAPS}/a"), format!("{MAPS}/b"));
    let codes = [code(&a).await, code(&b).await, code(&a).await, code(&a).await, code(&a).await];
    assert_eq!(codes, [200, 200, 500, 500, 200]);
    assert_eq!(faults.struck(Fault::Error), 2);
    assert_eq!(code(MAPS).await, 200);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(code(MAPS).await, 429);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(code(MAPS).await, 200);
    assert_eq!(ask(&Faults::new("hub", 1, &rules), "GET", &a).await.unwrap().0, 200);
}

#[tokio::test]
async fn chance_follows_the_seed() {
    let rule = Rule { percent: 30, ..Rule::new(Fault::Error) };
    let run = async |seed: u64| {
        let faults = Faults::new("edge-001", seed, std::slice::from_ref(&rule));
        let mut codes = Vec::new();
        for _ in 0..200 {
            codes.push(ask(&faults, "GET", MAPS).await.unwrap().0);
        }
        (codes, faults.struck(Fault::Error))
    };
    let (first, again, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    assert!((30..=90).contains(&first.1), "{}", first.1);
}

#[test]
fn a_mistake_in_a_script_is_named_with_its_place() {
    let error = Script::parse("faults.yaml", b"rules:\n- {fault: latensy}\n- {fault: error, cod: 500}\n")
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("faults.yaml:2") && text.contains("faults.yaml:3") && text.contains("cod"),
        "{text}"
    );
}
