//! Pages for people: where the links in a forge lead. No script, nothing from elsewhere; every text is escaped.

use std::fmt::Write;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, Method};

use super::access::Access;
use super::api::{App, Route, fleet_name, no_such, reading};
use super::openapi::Operation;
use super::problem::Problem;
use super::view::{FleetView, PullView, RolloutView, StatusView, TargetView};
use fairlead_core::model::diagnostic::{Diagnostic, Severity};
use fairlead_core::rollout::TargetStatus;

/// Rollouts among which one is looked for: as many as are kept.
const ROLLOUTS: u32 = 100;
/// Rows of a table.
const MAX_ROWS: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;\
vertical-align:top}pre{overflow-x:auto;border:1px solid #8886;padding:.8rem}code{font-size:.95em}\
.success,.converged{color:#1a7f37}.failure,.failed,.error{color:#cf222e}.pending,.warning{color:#9a6700}";

pub(super) fn page_routes() -> Vec<Route> {
    let page = |path, operation: Operation, handler| Route {
        method: Method::GET,
        path,
        access: Access::Read,
        operation: operation.gives_text("text/html").refuses(&[404, 503, 504]),
        handler,
    };
    vec![
        page(
            "/fleets/{name}/rollouts/{commit}",
            Operation::new("rolloutPage", "A commit's rollout through a fleet, as a page"),
            reading(rollout),
        ),
        page(
            "/commits/{commit}",
            Operation::new("commitPage", "What is wrong in a commit, as a page"),
            reading(commit),
        ),
        page(
            "/pulls/{number}",
            Operation::new("pullPage", "What merging a pull request would do, as a page"),
            reading(pull),
        ),
    ]
}

async fn rollout(
    State(app): State<App>,
    Path((name, commit)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let fleet = fleet_name(&name)?;
    let work = async { Ok(app.parts.questions.rollouts(fleet, ROLLOUTS).await?) };
    let rollouts = App::in_time(app.request_timeout, "the rollouts did not come in time", work).await?;
    let found = rollouts.iter().find(|rollout| rollout.commit.to_string() == commit);
    let found = found.ok_or_else(|| no_such("rollout", &commit))?;
    Ok(html(&format!("Fleet {name}: {}", found.commit.short()), &rollout_body(&app.view(), found)))
}

async fn commit(State(app): State<App>, Path(commit): Path<String>) -> Result<Response, Problem> {
    let work = async { Ok(app.parts.questions.findings(commit.clone()).await?) };
    let findings = App::in_time(app.plan_timeout, "the commit was not read in time", work).await?;
    let short: String = commit.chars().take(7).collect();
    Ok(html(&format!("Commit {short}"), &listing(&findings)))
}

async fn pull(State(app): State<App>, Path(number): Path<String>) -> Result<Response, Problem> {
    let number: u64 = number.parse().map_err(|_| no_such("pull request", &number))?;
    let work = async { Ok(app.parts.questions.pull(number).await?) };
    let view = App::in_time(app.plan_timeout, "the pull request was not read in time", work).await?;
    Ok(html(&format!("Pull request {number}"), &pull_body(&view)))
}

fn rollout_body(view: &StatusView, rollout: &RolloutView) -> String {
    let mut out = String::new();
    let state = escape(&rollout.state);
    // Writing to a String can't fail.
    let _ = write!(
        out,
        "<p><strong class=\"{state}\">{state}</strong>: {}</p><p>Commit <code>{}</code>, seen {}, last changed {}.</p>",
        escape(&rollout.description),
        rollout.commit,
        rollout.began,
        rollout.changed
    );
    let Some(fleet) = view.fleets.iter().find(|fleet| fleet.name == rollout.fleet) else {
        out.push_str("<p>The fleet is gone.</p>");
        return out;
    };
    let now = match fleet.observed {
        Some(observed) if observed == rollout.commit => "The fleet now".to_owned(),
        Some(observed) => format!("The fleet now, at <code>{}</code>", observed.short()),
        None => "The fleet now".to_owned(),
    };
    let reason = fleet.reason.as_deref().map(|reason| format!(": {}", escape(reason))).unwrap_or_default();
    let _ = write!(out, "<h2>{now}</h2><p>{}{reason}</p>", fleet.state.as_str());
    out.push_str(&counts(fleet));
    let targets: Vec<_> = view.targets.iter().filter(|target| target.fleet == fleet.name).collect();
    let (done, rest): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target| target.status == TargetStatus::Converged);
    out.push_str(&table(rest.into_iter().chain(done)));
    let _ = write!(out, "<p><a href=\"/api/v1/fleets/{}\">As JSON</a></p>", fleet.name);
    out
}

fn counts(fleet: &FleetView) -> String {
    let counts = fleet.counts.iter().map(|(status, count)| format!("{count} {}", status.as_str()));
    format!("<p>Targets: {}</p>", counts.collect::<Vec<_>>().join(", "))
}

fn table<'t>(targets: impl Iterator<Item = &'t TargetView>) -> String {
    let mut out = "<table><tr><th>Target<th>Status<th>Assigned<th>Converged<th>Reason".to_owned();
    let mut more = 0;
    for (number, target) in targets.enumerate() {
        if number >= MAX_ROWS {
            more += 1;
            continue;
        }
        let commit = |release: &Option<super::view::ReleaseView>| {
            release.as_ref().map(|release| release.commit.short()).unwrap_or_default()
        };
        let _ = write!(
            out,
            "<tr><td>{}<td class=\"{status}\">{status}<td><code>{}</code><td><code>{}</code><td>{}",
            target.name,
            commit(&target.assigned),
            commit(&target.converged),
            escape(target.reason.as_deref().unwrap_or_default()),
            status = target.status.as_str()
        );
    }
    out.push_str("</table>");
    if more > 0 {
        let _ = write!(out, "<p>and {more} more</p>");
    }
    out
}

fn listing(findings: &[Diagnostic]) -> String {
    if findings.is_empty() {
        return "<p class=\"success\">Everything is valid.</p>".to_owned();
    }
    let mut out = "<ul>".to_owned();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = escape(&finding.place.to_string());
        let text = escape(&finding.text());
        let _ = write!(out, "<li><code>{place}</code>: <span class=\"{severity}\">{severity}</span> {text}");
    }
    out.push_str("</ul>");
    out
}

fn pull_body(view: &PullView) -> String {
    let mut out =
        format!("<p>Head <code>{}</code></p><h2>Check</h2>{}", view.commit, listing(&view.findings));
    out.push_str("<h2>What merging would do</h2>");
    match &view.no_plan {
        Some(reason) => out.push_str(&format!("<p class=\"failure\">No plan: {}</p>", escape(reason))),
        None => out.push_str(&format!("<pre>{}</pre>", escape(&view.text))),
    }
    out
}

fn html(title: &str, body: &str) -> Response {
    let title = escape(title);
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>"
    );
    let mut response = Html(page).into_response();
    let policy =
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Text as text, also between quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
