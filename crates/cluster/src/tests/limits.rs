//! What one cluster's answers may take: each limit, met by a server that goes beyond it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;

use crate::api::{Api, Call, MAX_ANSWER, MAX_PAGE, METADATA_LIST};
use crate::brake::Brake;
use crate::error::ApiError;
use crate::memory::{Memory, OF_ONE};

type Reply = UnsyncBoxBody<Bytes, Infallible>;

/// A server that answers by a function of the request's path and query, and remembers what it was asked.
fn server(
    answer: impl Fn(&str) -> Response<Reply> + Send + Sync + 'static,
) -> (Api, Arc<Mutex<Vec<String>>>, Memory) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heard, answer) = (Arc::clone(&asked), Arc::new(answer));
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        heard.lock().unwrap().push(uri.clone());
        let response = answer(&uri);
        async move { Ok::<_, Infallible>(response) }
    });
    let memory = Memory::default();
    let client = kube::Client::new(service, "default");
    (Api::new(client, "test", Brake::default(), memory.share()), asked, memory)
}

fn ok(body: impl Into<Bytes>) -> Response<Reply> {
    Response::new(Full::new(body.into()).boxed_unsync())
}

fn page(token: &str, items: &str) -> Response<Reply> {
    ok(format!(r#"{{"metadata":{{"resourceVersion":"7","continue":"{token}"}},"items":[{items}]}}"#))
}

/// A body that comes in pieces, each after a while.
fn pieces(pause: Duration, first: usize, rest: &'static [u8]) -> Response<Reply> {
    let stream = futures::stream::unfold(Some(vec![b' '; first]), move |state| async move {
        if state.is_none() {
            tokio::time::sleep(pause).await;
        }
        let piece = state.unwrap_or_else(|| rest.to_vec());
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(piece))), None))
    });
    Response::new(StreamBody::new(stream).boxed_unsync())
}

#[tokio::test]
async fn an_answer_is_read_up_to_what_it_may_have() {
    let (api, ..) = server(|uri| {
        let size = uri.rsplit('/').next().and_then(|size| size.parse::<usize>().ok()).unwrap_or_default();
        ok(vec![b' '; size])
    });
    assert_eq!(api.call(Call::get(format!("/{MAX_ANSWER}"))).await.unwrap().len(), MAX_ANSWER);
    let large = api.call(Call::get(format!("/{}", MAX_ANSWER + 1))).await;
    assert!(matches!(large, Err(ApiError::TooLarge(MAX_ANSWER))));
    assert!(api.call(Call::get(format!("/{MAX_PAGE}")).most(MAX_PAGE)).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_would_become_too_large_in_memory_is_refused() {
    let bomb = format!("[{}0]", r#"{"":0},"#.repeat(200_000));
    let (api, ..) = server(move |_| ok(bomb.clone()));
    let error = api.json(Call::get("/x")).await.unwrap_err();
    assert!(matches!(error, ApiError::Decode(_)), "{error:?}");
}

#[tokio::test]
async fn of_a_large_refusal_the_beginning_is_read() {
    let (api, ..) = server(|_| {
        let mut body = b"upstream said no: ".to_vec();
        body.resize(20 << 20, b'x');
        let mut response = ok(body);
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    });
    let Err(ApiError::Status(status)) = api.call(Call::get("/x")).await else { panic!() };
    assert!(
        status.code == 502 && status.message.starts_with("upstream said no") && status.message.len() < 4_096
    );
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_with_fewer_objects() {
    let (api, asked, _) = server(|uri| {
        let limit: usize = uri.split("limit=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let item = format!(r#"{{"x":"{}"}}"#, "x".repeat(100_000));
        page("", &vec![item; limit.min(100)].join(","))
    });
    let mut count = 0;
    let take = |_| {
        count += 1;
        true
    };
    assert_eq!(api.list("/x?a=b", METADATA_LIST, 10_000, take).await.unwrap(), "7");
    let limits: Vec<String> =
        asked.lock().unwrap().iter().map(|uri| uri.replace("/x?a=b&limit=", "")).collect();
    assert_eq!(
        (count, limits),
        (31, vec!["2000&continue=".into(), "250&continue=".into(), "31&continue=".into()])
    );
}

#[tokio::test]
async fn a_list_without_an_end_ends() {
    let item = r#"{"metadata":{"name":"n"}}"#;
    let number = AtomicUsize::new(0);
    // Full pages, pages with nothing in them, the same page again, and large ones.
    let (api, asked, _) = server(move |uri| match uri.as_bytes()[1] {
        b'f' => page(&number.fetch_add(1, Ordering::Relaxed).to_string(), &vec![item; 2_000].join(",")),
        b'e' => page("next", ""),
        b's' => page("same", item),
        b'l' => page("next", &format!(r#"{{"x":"{}"}}"#, "x".repeat(6 << 20))),
        _ => page(&"t".repeat(20_000), item),
    });
    for (path, most_requests) in
        [("/full", 6), ("/empty", 110), ("/same", 110), ("/large", 40), ("/token", 1)]
    {
        asked.lock().unwrap().clear();
        let error = api.list(path, METADATA_LIST, 10_000, |_| true).await.unwrap_err();
        assert!(matches!(error, ApiError::TooMany(_) | ApiError::TooLarge(_)), "{path}: {error:?}");
        let count = asked.lock().unwrap().len();
        assert!(count <= most_requests, "{path}: {count} requests");
    }
    // Whoever takes the items can end it.
    asked.lock().unwrap().clear();
    let mut left = 5_000;
    let take = |_| {
        left -= 1;
        left > 0
    };
    assert!(api.list("/full", METADATA_LIST, 1_000_000, take).await.is_err());
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_version_that_nobody_can_ask_for_is_refused() {
    let body = format!(r#"{{"metadata":{{"resourceVersion":"{}"}}}}"#, "9".repeat(300));
    let (api, ..) = server(move |_| ok(body.clone()));
    let error = api.list("/x", METADATA_LIST, 10, |_| true).await.unwrap_err();
    assert!(matches!(error, ApiError::TooLarge(_)), "{error:?}");
}

#[tokio::test]
async fn an_event_is_read_up_to_what_it_may_have() {
    let (api, ..) = server(|uri| {
        let size: usize = uri.rsplit('/').next().unwrap().parse().unwrap();
        let mut body = vec![b' '; size];
        body.extend_from_slice(b"\n{}\n");
        ok(body)
    });
    let mut lines = std::pin::pin!(api.lines(Call::get("/3000000")).await.unwrap());
    assert_eq!(lines.next().await.unwrap().unwrap().bytes.len(), 3_000_001);
    assert_eq!(lines.next().await.unwrap().unwrap().bytes, "{}\n");
    assert!(lines.next().await.is_none());
    let mut lines = std::pin::pin!(api.lines(Call::get("/5000000")).await.unwrap());
    assert!(matches!(lines.next().await, Some(Err(ApiError::TooLarge(_)))));
    assert!(lines.next().await.is_none(), "and that is the end of it");
}

#[tokio::test]
async fn a_large_event_that_does_not_come_gives_its_memory_back() {
    let (api, ..) = server(|_| pieces(Duration::from_millis(20), 100_000, b" "));
    let mut all = Vec::new();
    for _ in 0..30 {
        let api = api.clone();
        all.push(tokio::spawn(async move {
            let mut lines = std::pin::pin!(api.lines(Call::get("/x")).await.unwrap());
            lines.next().await.map(|line| line.map(|line| line.bytes))
        }));
    }
    // Only some fit into the cluster's share at a time; each gives it up when its time is over.
    for one in all {
        let ended = tokio::time::timeout(Duration::from_secs(60), one).await.unwrap().unwrap();
        assert!(matches!(ended, Some(Err(ApiError::Timeout(_)))), "{ended:?}");
    }
}

#[tokio::test]
async fn whoever_sends_much_slowly_does_not_hold_up_others() {
    let (greedy, _, memory) = server(|_| pieces(Duration::from_millis(20), 100_000, b" "));
    for _ in 0..40 {
        let greedy = greedy.clone();
        tokio::spawn(async move { greedy.call(Call::get("/x").most(MAX_PAGE)).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let others = memory.share();
    assert!(tokio::time::timeout(Duration::from_secs(5), others.reserve(OF_ONE)).await.unwrap().is_some());
}
