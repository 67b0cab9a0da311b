//! Where forges say that something changed: `POST /webhooks/<source>`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::access::Access;
use super::api::{App, Route};
use super::openapi::Operation;
use super::problem::Problem;

/// A delivery's body is smaller than this.
const MAX_BODY: usize = 1 << 20;
/// So much of a larger one is taken and forgotten before the connection is closed.
const FORGOTTEN: usize = 4 << 20;
/// Until when it must be there. Forges give up after 5 to 10 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies that are read at a time: whoever sends them, they take at most 16 MiB.
const AT_A_TIME: usize = 16;

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It hints at something, which is looked at now.
    Taken,
    /// Its signature is good, and there is nothing to do.
    Ignored(String),
    NoSource,
    Unauthorized,
    Malformed(String),
    /// Not now, because of something here.
    Unavailable(String),
}

/// Who looks at deliveries. Must not block: the forge waits for the answer.
pub trait Webhooks: Send + Sync + 'static {
    /// `body` is as it came over the wire.
    fn deliver(&self, source: &str, headers: &HeaderMap, body: &[u8]) -> Delivery;
}

/// Reads the bodies of deliveries, a few at a time.
pub(super) struct Intake {
    webhooks: Option<Arc<dyn Webhooks>>,
    places: Semaphore,
}

impl Intake {
    pub(super) fn new(webhooks: Option<Arc<dyn Webhooks>>) -> Self {
        Self { webhooks, places: Semaphore::new(AT_A_TIME) }
    }

    async fn take(&self, source: &str, request: Request) -> Result<Delivery, Problem> {
        let Some(webhooks) = &self.webhooks else { return Ok(Delivery::NoSource) };
        let (parts, body) = request.into_parts();
        let read = async {
            // Closed never: the intake lives as long as the server.
            let _place = self.places.acquire().await.ok();
            read_body(body).await
        };
        let body = tokio::time::timeout(BODY_TIMEOUT, read)
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))??;
        Ok(webhooks.deliver(source, &parts.headers, &body))
    }
}

/// Reads a body within the limit. Somewhat more is read and forgotten: whoever is still sending when the connection
/// ends does not see the answer.
async fn read_body(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen > FORGOTTEN {
            break;
        }
        if seen > MAX_BODY {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(data);
        }
    }
    if seen > MAX_BODY { Err(too_large()) } else { Ok(kept) }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a delivery has at most 1 MiB")
        .hint("nothing is lost: the repository is polled")
}

pub(super) fn webhook_route() -> Route {
    Route {
        method: Method::POST,
        path: "/webhooks/{source}",
        // The signature is the credential.
        access: Access::Free,
        operation: Operation::new(
            "webhook",
            "Take a forge's delivery; answered before anything is done about it",
        )
        .gives_text("text/plain")
        .or_text(202, "Taken")
        .refuses(&[400, 401, 404, 408, 413, 503]),
        handler: on(MethodFilter::POST, take),
    }
}

async fn take(
    State(app): State<App>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    match app.intake.take(&source, request).await? {
        Delivery::Taken => Ok((StatusCode::ACCEPTED, "taken\n").into_response()),
        // A forge stops sending to an address that refuses.
        Delivery::Ignored(why) => Ok((StatusCode::OK, format!("ignored: {why}\n")).into_response()),
        Delivery::NoSource => Err(Problem::new(StatusCode::NOT_FOUND, "no webhooks are taken here").hint(
            "the daemon's setting forge.kind names the source, and forge.webhookSecretFile lets it in",
        )),
        Delivery::Unauthorized => {
            Err(Problem::new(StatusCode::UNAUTHORIZED, "the signature is missing or wrong")
                .hint("give the forge the secret of the daemon's forge.webhookSecretFile"))
        }
        Delivery::Malformed(why) => Err(Problem::new(StatusCode::BAD_REQUEST, why)),
        Delivery::Unavailable(why) => {
            tracing::error!(why, "no webhook is taken");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon can't check signatures now")
                .hint("its log says why"))
        }
    }
}
