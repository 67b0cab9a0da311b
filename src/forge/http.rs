//! A thin client: JSON in, JSON out, over TLS, bounded in time and bytes, following no redirect (it would carry the
//! credential to another host).

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use super::ForgeError;
use super::api::{Call, Reply};
use fairlead_net::{Again, Connector, Protocols, Route, Trust, explain};

/// A forge's answers are smaller than this; a page of pull requests has some hundred kilobytes.
const MAX_BODY: usize = 8 << 20;
/// From the request to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Http(Client<Connector, Full<Bytes>>);

impl Http {
    /// Trusts the system's certificates, and those of a file. `plain`: its one base address is an `http://` one.
    pub(super) fn new(ca_file: Option<&Path>, plain: bool) -> Result<Self, ForgeError> {
        let trust = Trust::system_and(ca_file).map_err(|error| {
            let path = ca_file.unwrap_or(Path::new("")).to_owned();
            ForgeError::Certificates { path, reason: error.to_string() }
        })?;
        let connector = Connector::new(Route::of_process(), trust, Protocols::Http1And2).allow_plain(plain);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Ok(Self(client))
    }

    /// Asks; any answer is one, whatever its status.
    pub(super) async fn call(
        &self,
        base: &str,
        call: &Call,
        headers: &[(&'static str, String)],
    ) -> Result<Reply, ForgeError> {
        let uri: Uri = format!("{base}{}", call.path)
            .parse()
            .map_err(|_| ForgeError::Settings(format!("'{base}' is not an address")))?;
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .header(USER_AGENT, concat!("fairlead/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                ForgeError::Settings("the token holds characters that can't stand in a header".into())
            })?;
            value.set_sensitive(true);
            request = request.header(HeaderName::from_static(name), value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ForgeError::Settings(error.to_string()))?;
        let asked = format!("{} {}", call.method, without_query(base, &call.path));
        match tokio::time::timeout(TIMEOUT, self.exchange(request, &asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(ForgeError::Unreachable { asked, reason: "no answer in 30 s".to_owned() }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, asked: &str) -> Result<Reply, ForgeError> {
        let failed = |error: &(dyn std::error::Error + 'static)| ForgeError::Unreachable {
            asked: asked.to_owned(),
            reason: explain(error).to_string(),
        };
        // A forge that closes its connections now and then has not seen what it refuses so.
        let mut again = Again::new(request.method().is_safe());
        let response = loop {
            let error = match self.0.request(request.clone()).await {
                Ok(response) => break response,
                Err(error) => error,
            };
            match again.after(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failed(&error)),
            }
        };
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| failed(error.as_ref()))?.to_bytes();
        // A proxy's page of HTML is no answer of the forge, and its status says enough.
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body, asked: asked.to_owned() })
    }
}

fn without_query(base: &str, path: &str) -> String {
    format!("{base}{}", path.split('?').next().unwrap_or_default())
}
