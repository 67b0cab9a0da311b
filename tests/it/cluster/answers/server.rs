//! A server of a test's own behind a real API server: admission and conversion webhooks, and an aggregated API
//! server, each of which answers as its path says.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The group that it serves behind an aggregated API.
pub const GROUP: &str = "borrowed.answers.example.com";

/// It ends when it is dropped.
pub struct Server {
    pub port: u16,
    certificate: String,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
        Self { port, certificate: signed.cert.pem(), _task: AbortOnDropHandle::new(task) }
    }

    /// How an API server reaches it under a path.
    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://127.0.0.1:{}/{path}", self.port),
            "caBundle": BASE64_STANDARD.encode(&self.certificate)})
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (code, body) = match path.trim_start_matches('/').split_once('/') {
        Some(("deny", code)) => (200, denied(&asked, code.parse().unwrap_or(403))),
        Some(("webhook", "timeout")) => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            (200, allowed(&asked))
        }
        Some(("webhook", "nonsense")) => (200, json!("<html>hello</html>")),
        Some(("webhook", "uid")) => (
            200,
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": "another", "allowed": true}}),
        ),
        Some(("webhook", "patch")) => {
            let mut review = allowed(&asked);
            review["response"]["patchType"] = json!("JSONPatch");
            review["response"]["patch"] =
                json!(BASE64_STANDARD.encode(r#"[{"op":"remove","path":"/nothing/here"}]"#));
            (200, review)
        }
        Some(("webhook", "allow")) => (200, allowed(&asked)),
        Some(("apis", rest)) => aggregated(rest),
        _ => (500, json!("no")),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    Ok(response)
}

fn allowed(asked: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": asked["request"]["uid"], "allowed": true}})
}

fn denied(asked: &Value, code: u16) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": asked["request"]["uid"], "allowed": false,
            "status": {"code": code, "message": "not on a Friday"}}})
}

/// What an API server behind the real one says: the resource's name is the code.
fn aggregated(path: &str) -> (u16, Value) {
    let resource = path.rsplit('/').find_map(|part| part.strip_prefix("code"));
    let Some(code) = resource.and_then(|code| code.parse().ok()) else {
        return (
            200,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1"), "resources": []}),
        );
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": "", "message": "the borrowed server says no"}),
    )
}
