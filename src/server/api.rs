//! The routes, each with what it needs and how it is documented.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Json, middleware};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::access::{Access, Reader, check_host, guard};
use super::command::{Emergency, Orders, PlanQuestion, Questions};
use super::commands::command_routes;
use super::events::{Events, events};
use super::metrics::{self, Metrics};
use super::openapi::{Operation, document};
use super::pages::page_routes;
use super::problem::Problem;
use super::tokens::Tokens;
use super::view::{
    AuditView, ExplainFleet, ExplainView, FleetView, HistoryView, NotReady, ProfilesView, PullView,
    RolloutView, StatusView, TargetView, Views,
};
use super::webhooks::{Intake, Webhooks, webhook_route};
use fairlead_core::model::diagnostic::Diagnostic;
use fairlead_core::model::name::{FleetName, TargetName};

/// Events of a target given unless asked for more or fewer.
const HISTORY: u32 = 50;
/// Events that an explanation ends with.
const LATELY: u32 = 5;

/// What the daemon gives the server.
pub struct Parts {
    pub views: Views,
    pub orders: Orders,
    pub questions: Arc<dyn Questions>,
    pub emergency: Arc<dyn Emergency>,
    pub metrics: Arc<Metrics>,
    /// None: no webhooks are taken.
    pub webhooks: Option<Arc<dyn Webhooks>>,
}

/// What every handler can reach.
#[derive(Clone)]
pub(super) struct App {
    pub(super) parts: Arc<Parts>,
    pub(super) events: Arc<Events>,
    pub(super) request_timeout: Duration,
    pub(super) plan_timeout: Duration,
    document: Arc<serde_json::Value>,
    pub(super) intake: Arc<Intake>,
}

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) operation: Operation,
    pub(super) handler: MethodRouter<App>,
}

impl Route {
    fn get(path: &'static str, access: Access, operation: Operation, handler: MethodRouter<App>) -> Self {
        Self { method: Method::GET, path, access, operation, handler }
    }
}

impl App {
    pub(super) fn new(
        parts: Parts,
        stop: CancellationToken,
        request_timeout: Duration,
        plan_timeout: Duration,
        longest_stream: Duration,
    ) -> Self {
        let events = Arc::new(Events::new(parts.views.clone(), stop, longest_stream));
        let document = Arc::new(document(routes()));
        let intake = Arc::new(Intake::new(parts.webhooks.clone()));
        Self { parts: Arc::new(parts), events, request_timeout, plan_timeout, document, intake }
    }

    pub(super) fn view(&self) -> Arc<StatusView> {
        self.parts.views.borrow().clone()
    }

    /// What `work` gives, if it comes in time.
    pub(super) async fn in_time<T>(
        limit: Duration,
        late: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let late = || Problem::new(StatusCode::GATEWAY_TIMEOUT, late);
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
    }
}

pub(super) fn router(app: App, tokens: Option<&Arc<Tokens>>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| {
            let state = (tokens.cloned(), route.access);
            router.route(route.path, route.handler.layer(middleware::from_fn_with_state(state, guard)))
        })
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such path").hint("see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here").hint("see /openapi.json")
        })
        .layer(middleware::map_response(set_headers))
        .layer(middleware::from_fn(check_host))
        .with_state(app)
}

async fn set_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn routes() -> Vec<Route> {
    let get = Route::get;
    let mut routes = vec![
        get(
            "/healthz",
            Access::Free,
            Operation::new("healthz", "Whether the process answers").gives_text("text/plain"),
            reading(|| async { "ok\n" }),
        ),
        get(
            "/readyz",
            Access::Free,
            Operation::new("readyz", "Whether the daemon can do its work; why not, for those who may read")
                .gives::<ReadyView>()
                .or::<ReadyView>(503, "Not ready"),
            reading(ready),
        ),
        get(
            "/metrics",
            Access::Read,
            Operation::new("metrics", "Metrics for Prometheus").gives_text(metrics::CONTENT_TYPE),
            reading(metrics_text),
        ),
        get(
            "/openapi.json",
            Access::Free,
            Operation::new("openapi", "This document").gives::<serde_json::Map<String, serde_json::Value>>(),
            reading(|State(app): State<App>| async move { Json(&*app.document).into_response() }),
        ),
        get(
            "/api/v1/status",
            Access::Read,
            Operation::new("getStatus", "Everything at once").gives::<StatusView>(),
            reading(|State(app): State<App>| async move { Json(&*app.view()).into_response() }),
        ),
        get(
            "/api/v1/events",
            Access::Read,
            Operation::new("watchStatus", "Server-sent events `status`: the whole status now, and at each change; its id is the version")
                .gives_text("text/event-stream")
                .or::<Problem>(503, "Too many streams are open"),
            reading(events),
        ),
        get(
            "/api/v1/diagnostics",
            Access::Read,
            Operation::new("listDiagnostics", "What is wrong in the observed commit").gives::<Vec<Diagnostic>>(),
            reading(|State(app): State<App>| async move { Json(&app.view().diagnostics).into_response() }),
        ),
        get(
            "/api/v1/audit",
            Access::Read,
            Operation::new("listAudit", "Who did what, when and why, newest first")
                .query("subject", "string", "Only what was done to this, e.g. fleet/retail")
                .query("limit", "integer", "At most this many; default: 50")
                .gives::<Vec<AuditView>>()
                .refuses(&[400, 503, 504]),
            reading(audit),
        ),
        get(
            "/api/v1/plan",
            Access::Read,
            Operation::new("plan", "What the change from one commit to another does to each target")
                .query("from", "string", "A commit, branch or tag; default: what is accepted")
                .query("to", "string", "A commit, branch or tag; default: the head")
                .query("live", "boolean", "Compare with what the clusters really have")
                .gives::<serde_json::Map<String, serde_json::Value>>()
                .refuses(&[400, 404, 422, 503, 504]),
            reading(plan),
        ),
    ];
    routes.extend(fleet_routes());
    routes.extend(asked_routes());
    routes.extend(command_routes());
    routes.extend(page_routes());
    routes.push(webhook_route());
    routes
}

/// What is read in the repository when it is asked for.
fn asked_routes() -> Vec<Route> {
    let get = |path, operation, handler| Route::get(path, Access::Read, operation, handler);
    vec![
        get(
            "/api/v1/commits/{commit}/diagnostics",
            Operation::new("listCommitDiagnostics", "What is wrong in a commit")
                .gives::<Vec<Diagnostic>>()
                .refuses(&[404, 503, 504]),
            reading(commit_diagnostics),
        ),
        get(
            "/api/v1/pulls/{number}",
            Operation::new("getPull", "A pull request, looked at anew, and what merging it would do")
                .gives::<PullView>()
                .refuses(&[404, 503, 504]),
            reading(pull),
        ),
    ]
}

fn fleet_routes() -> Vec<Route> {
    let get = |path, operation, handler| Route::get(path, Access::Read, operation, handler);
    vec![
        get(
            "/api/v1/fleets",
            Operation::new("listFleets", "All fleets").gives::<Vec<FleetView>>(),
            reading(|State(app): State<App>| async move { Json(&app.view().fleets).into_response() }),
        ),
        get(
            "/api/v1/fleets/{name}",
            Operation::new("getFleet", "One fleet").gives::<FleetView>().refuses(&[404]),
            reading(fleet),
        ),
        get(
            "/api/v1/fleets/{name}/rollouts",
            Operation::new(
                "listRollouts",
                "A fleet's rollouts, newest first: each commit, and what was said of it last",
            )
            .query("limit", "integer", "At most this many; default: 50")
            .gives::<Vec<RolloutView>>()
            .refuses(&[400, 404, 503, 504]),
            reading(rollouts),
        ),
        get(
            "/api/v1/targets",
            Operation::new("listTargets", "All targets, each in each of its fleets")
                .gives::<Vec<TargetView>>(),
            reading(|State(app): State<App>| async move { Json(&app.view().targets).into_response() }),
        ),
        get(
            "/api/v1/targets/{name}",
            Operation::new("getTarget", "One target, in each of its fleets")
                .gives::<Vec<TargetView>>()
                .refuses(&[404]),
            reading(target),
        ),
        get(
            "/api/v1/targets/{name}/explain",
            Operation::new(
                "explainTarget",
                "What a target runs, what it should run, and why it is not there",
            )
            .gives::<ExplainView>()
            .refuses(&[404, 503, 504]),
            reading(explain),
        ),
        get(
            "/api/v1/targets/{name}/history",
            Operation::new("getHistory", "A target's events, newest first; they outlive the target")
                .query("limit", "integer", "At most this many; default: 50")
                .gives::<Vec<HistoryView>>()
                .refuses(&[400, 404, 503, 504]),
            reading(history),
        ),
    ]
}

pub(super) fn reading<H, T>(handler: H) -> MethodRouter<App>
where
    H: axum::handler::Handler<T, App>,
    T: 'static,
{
    on(MethodFilter::GET, handler)
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    pub ready: bool,
    /// An emergency stop stands. The daemon is ready all the same: it must be reached to end it.
    pub stopped: bool,
    /// Why not. Left empty for those who may not read.
    pub reasons: Vec<NotReady>,
}

async fn ready(State(app): State<App>, reader: Option<Extension<Reader>>) -> Response {
    let view = app.view();
    let ready = view.not_ready.is_empty();
    let reasons = reader.map(|_| view.not_ready.clone()).unwrap_or_default();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ReadyView { ready, stopped: view.stopped.is_some(), reasons })).into_response()
}

async fn metrics_text(State(app): State<App>) -> Response {
    match app.parts.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn fleet(State(app): State<App>, Path(name): Path<String>) -> Result<Json<FleetView>, Problem> {
    let view = app.view();
    let found = view.fleets.iter().find(|f| f.name.as_str() == name);
    found.cloned().map(Json).ok_or_else(|| no_such("fleet", &name))
}

async fn target(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Vec<TargetView>>, Problem> {
    let view = app.view();
    let found: Vec<_> = view.targets.iter().filter(|t| t.name.as_str() == name).cloned().collect();
    if found.is_empty() { Err(no_such("target", &name)) } else { Ok(Json(found)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    limit: Option<u32>,
}

async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Vec<HistoryView>>, Problem> {
    let query: HistoryQuery = parse_query(&request)?;
    let target: TargetName = name.parse().map_err(|_| no_such("target", &name))?;
    let known = app.view().targets.iter().any(|t| t.name == target);
    let work = async { Ok(app.parts.questions.history(target, query.limit.unwrap_or(HISTORY)).await?) };
    let events = App::in_time(app.request_timeout, "the history did not come in time", work).await?;
    if events.is_empty() && !known { Err(no_such("target", &name)) } else { Ok(Json(events)) }
}

/// How long a cluster may take to say why something is not healthy.
const CAUSES: Duration = Duration::from_secs(6);

async fn explain(State(app): State<App>, Path(name): Path<String>) -> Result<Json<ExplainView>, Problem> {
    let target: TargetName = name.parse().map_err(|_| no_such("target", &name))?;
    let view = app.view();
    let of_target = view.targets.iter().filter(|t| t.name == target);
    let with_fleet = of_target.filter_map(|t| Some((view.fleets.iter().find(|f| f.name == t.fleet)?, t)));
    let mut fleets: Vec<_> = with_fleet
        .map(|(f, t)| ExplainFleet {
            fleet: f.clone(),
            target: t.clone(),
            profiles: ProfilesView::default(),
            causes: Vec::new(),
        })
        .collect();
    if fleets.is_empty() {
        return Err(no_such("target", &name));
    }
    for one in &mut fleets {
        let profiles = app.parts.questions.profiles(one.fleet.name.clone(), target.clone());
        let work = async { Ok(profiles.await?) };
        one.profiles = App::in_time(app.request_timeout, "the profiles did not come in time", work).await?;
        let asked = app.parts.questions.causes(one.fleet.name.clone(), target.clone());
        // The rest of the answer does not wait for a cluster that is slow.
        one.causes = tokio::time::timeout(CAUSES, asked).await.unwrap_or_default();
    }
    let work = async { Ok(app.parts.questions.history(target.clone(), LATELY).await?) };
    let lately = App::in_time(app.request_timeout, "the history did not come in time", work).await?;
    let (stopped, repository) = (view.stopped.clone(), view.repository.clone());
    Ok(Json(ExplainView { target, stopped, repository, fleets, lately }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    subject: Option<String>,
    limit: Option<u32>,
}

async fn audit(State(app): State<App>, request: Request) -> Result<Json<Vec<AuditView>>, Problem> {
    let AuditQuery { subject, limit } = parse_query(&request)?;
    let work = async { Ok(app.parts.questions.audit(subject, limit.unwrap_or(HISTORY)).await?) };
    App::in_time(app.request_timeout, "the audit did not come in time", work).await.map(Json)
}

async fn rollouts(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Vec<RolloutView>>, Problem> {
    let query: HistoryQuery = parse_query(&request)?;
    let fleet = fleet_name(&name)?;
    let known = app.view().fleets.iter().any(|f| f.name == fleet);
    let work = async { Ok(app.parts.questions.rollouts(fleet, query.limit.unwrap_or(HISTORY)).await?) };
    let rollouts = App::in_time(app.request_timeout, "the rollouts did not come in time", work).await?;
    if rollouts.is_empty() && !known { Err(no_such("fleet", &name)) } else { Ok(Json(rollouts)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanQuery {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    live: bool,
}

async fn plan(State(app): State<App>, request: Request) -> Result<Json<serde_json::Value>, Problem> {
    let PlanQuery { from, to, live } = parse_query(&request)?;
    let question = PlanQuestion { from, to, live };
    let work = async { Ok(app.parts.questions.plan(question).await?) };
    App::in_time(app.plan_timeout, "the plan was not made in time", work).await.map(Json)
}

async fn commit_diagnostics(
    State(app): State<App>,
    Path(commit): Path<String>,
) -> Result<Json<Vec<Diagnostic>>, Problem> {
    let work = async { Ok(app.parts.questions.findings(commit).await?) };
    App::in_time(app.plan_timeout, "the commit was not read in time", work).await.map(Json)
}

async fn pull(State(app): State<App>, Path(number): Path<String>) -> Result<Json<PullView>, Problem> {
    let number: u64 = number.parse().map_err(|_| no_such("pull request", &number))?;
    let work = async { Ok(app.parts.questions.pull(number).await?) };
    App::in_time(app.plan_timeout, "the pull request was not read in time", work).await.map(Json)
}

fn parse_query<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    let query = Query::try_from_uri(request.uri());
    query.map(|Query(value)| value).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, e.body_text()))
}

/// `name` comes from the request: shown cleaned and cut.
pub(super) fn no_such(what: &str, name: &str) -> Problem {
    let shown: String =
        name.chars().filter(|c| !c.is_control()).take(fairlead_core::model::name::MAX_NAME).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} '{shown}'"))
}

/// A fleet's name out of a path.
pub(super) fn fleet_name(name: &str) -> Result<FleetName, Problem> {
    name.parse().map_err(|_| no_such("fleet", name))
}

/// A target's name out of a path.
pub(super) fn target_name(name: &str) -> Result<TargetName, Problem> {
    name.parse().map_err(|_| no_such("target", name))
}
