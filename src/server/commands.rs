//! The routes that change something.

use axum::extract::{Path, Request, State};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Json};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::access::Access;
use super::api::{App, Route, fleet_name, target_name};
use super::command::{Caller, Command, Done, Order};
use super::openapi::Operation;
use super::problem::Problem;
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::{FleetName, WaveName};

/// A command's body is smaller than this.
const MAX_BODY: usize = 64 * 1024;
/// Characters of a reason.
const MAX_REASON: usize = 1_000;

/// The body of most commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReasonBody {
    /// Why; it goes into the audit. 1 to 1,000 characters.
    pub reason: String,
}

/// The body of `accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptBody {
    /// Why; it goes into the audit. 1 to 1,000 characters.
    pub reason: String,
    /// The control commit that you saw; refused if another one is held by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
}

/// The body of `approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveBody {
    /// Why; it goes into the audit. 1 to 1,000 characters.
    pub reason: String,
    /// Of this wave only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<WaveName>,
}

/// The body of `adopt` and `leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetBody {
    /// Why; it goes into the audit. 1 to 1,000 characters.
    pub reason: String,
    /// In this fleet only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetName>,
}

/// A command and its reason.
type Made = Result<(Command, String), Problem>;

pub(super) fn command_routes() -> Vec<Route> {
    vec![
        command::<AcceptBody>(
            "/api/v1/fleets/{name}/accept",
            "accept",
            "Let in revisions that are held",
            |name, body| Ok((Command::Accept { fleet: fleet_name(name)?, commit: body.commit }, body.reason)),
        ),
        command::<ApproveBody>(
            "/api/v1/fleets/{name}/approve",
            "approve",
            "Allow deletions, targets that leave and waves that wait for an approval",
            |name, body| Ok((Command::Approve { fleet: fleet_name(name)?, wave: body.wave }, body.reason)),
        ),
        command::<ReasonBody>(
            "/api/v1/fleets/{name}/retry",
            "retry",
            "Lift the quarantine and try again",
            |name, body| Ok((Command::Retry { fleet: fleet_name(name)? }, body.reason)),
        ),
        command::<ReasonBody>(
            "/api/v1/fleets/{name}/pause",
            "pause",
            "Assign nothing more until resumed; healing goes on",
            |name, body| Ok((Command::Pause { fleet: fleet_name(name)? }, body.reason)),
        ),
        command::<ReasonBody>(
            "/api/v1/fleets/{name}/resume",
            "resume",
            "Go on after a pause",
            |name, body| Ok((Command::Resume { fleet: fleet_name(name)? }, body.reason)),
        ),
        command::<TargetBody>(
            "/api/v1/targets/{name}/adopt",
            "adopt",
            "Take over objects that others own",
            |name, body| Ok((Command::Adopt { target: target_name(name)?, fleet: body.fleet }, body.reason)),
        ),
        command::<TargetBody>(
            "/api/v1/targets/{name}/leave",
            "leave",
            "Release all objects and remove the ledger",
            |name, body| Ok((Command::Leave { target: target_name(name)?, fleet: body.fleet }, body.reason)),
        ),
        command::<ReasonBody>("/api/v1/sync", "sync", "Fetch now", |_, body| {
            Ok((Command::Sync, body.reason))
        }),
        command::<ReasonBody>(
            "/api/v1/stop",
            "stop",
            "Stop every write to every cluster at once",
            |_, body| Ok((Command::Stop, body.reason)),
        ),
        command::<ReasonBody>("/api/v1/resume", "resumeAll", "End an emergency stop", |_, body| {
            Ok((Command::ResumeAll, body.reason))
        }),
    ]
}

/// A route whose path (with a name, or without) and body make a command and its reason.
fn command<B>(path: &'static str, id: &'static str, summary: &'static str, make: fn(&str, B) -> Made) -> Route
where
    B: DeserializeOwned + JsonSchema + Send + 'static,
{
    let handler = move |State(app): State<App>,
                        name: Option<Path<String>>,
                        Extension(caller): Extension<Caller>,
                        request: Request| async move {
        let body = read_body(&app, request).await?;
        let (command, reason) = make(name.as_ref().map_or("", |n| n.as_str()), body)?;
        give(&app, command, caller, reason).await.map(Json)
    };
    let operation = Operation::new(id, summary)
        .takes::<B>()
        .gives::<Done>()
        .refuses(&[400, 404, 408, 409, 413, 415, 422, 500, 503, 504]);
    Route {
        method: Method::POST,
        path,
        access: Access::Change,
        operation,
        handler: on(MethodFilter::POST, handler),
    }
}

async fn read_body<B: DeserializeOwned>(app: &App, request: Request) -> Result<B, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a command's body is JSON")
            .hint("send 'Content-Type: application/json'"));
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = tokio::time::timeout(app.request_timeout, body)
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a command's body has at most 64 KiB")
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
            }
        })?
        .to_bytes();
    serde_json::from_slice(&body)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not what it should be: {e}")))
}

/// Only this type: a page of another origin can't send it without leave (CORS), unlike a form's.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

async fn give(app: &App, command: Command, caller: Caller, reason: String) -> Result<Done, Problem> {
    let reason: String = reason.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a reason has 1 to 1,000 characters"));
    }
    tracing::debug!(%caller, command = command.verb(), subject = command.subject(), "command received");
    if command == Command::Stop {
        let message = app.parts.emergency.stop(caller.clone(), reason.clone()).await;
        return Ok(match order(app, command, caller, reason).await {
            Ok(_) => Done { message },
            Err(late) => Done { message: format!("{message}; not in the audit: {}", late.detail) },
        });
    }
    if command == Command::ResumeAll {
        order(app, command, caller, reason).await?;
        return Ok(Done { message: app.parts.emergency.resume()? });
    }
    order(app, command, caller, reason).await
}

/// Hands a command to the daemon, and waits for its answer.
async fn order(app: &App, command: Command, caller: Caller, reason: String) -> Result<Done, Problem> {
    let (answer, answered) = oneshot::channel();
    let order = Order { command, caller, reason, answer };
    let gone = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    // Until it is in the channel, nothing has happened.
    App::in_time(app.request_timeout, "the daemon is busy; the command was not taken, try again", async {
        app.parts.orders.send(order).await.map_err(|_| gone())
    })
    .await?;
    let late =
        "the daemon took the command and has not answered yet; look at the status before you try again";
    App::in_time(app.request_timeout, late, async { Ok(answered.await.map_err(|_| gone())??) }).await
}
