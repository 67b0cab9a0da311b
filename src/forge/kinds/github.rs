//! GitHub, and GitHub Enterprise.

use std::time::Duration;

use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::forge::api::{
    Call, Comment, Delivery, Event, Forge, Hook, HookGuide, Named, NewHook, NewPull, Pull, Reply, Verdict,
};
use crate::forge::findings::FindingsRecord;
use crate::forge::status::Status;
use crate::forge::webhook::{hmac_sha256_hex, json, single};
use fairlead_core::model::diagnostic::{Diagnostic, Severity};
use fairlead_core::rollout::CommitState;

/// Annotations that one request may carry.
const MAX_ANNOTATIONS: usize = 50;

pub struct Github;

impl Forge for Github {
    fn is_signed(&self, secret: &str, Delivery { headers, body, .. }: Delivery<'_>) -> bool {
        is_signed(secret, headers, body, SIGNATURE)
    }

    fn numbers(&self) -> &'static [&'static str] {
        &["x-github-delivery"]
    }

    fn read(&self, delivery: Delivery<'_>) -> Result<Event, String> {
        match single(delivery.headers, "x-github-event") {
            Some("push") => read_push(&delivery.json()),
            Some("pull_request") => read_pull_event(&delivery.json()),
            Some(_) => Ok(Event::Other),
            None => Err("no header names the event".to_owned()),
        }
    }

    fn hook_guide(&self) -> HookGuide {
        HookGuide {
            page: "settings/hooks/new",
            clicks: "Settings, Webhooks, Add webhook",
            secret: "Secret",
            content_type: Some("application/json"),
            events: "Let me select individual events: Pushes, Pull requests",
            rights: "a token with the repository permission Webhooks, read and write (classic: admin:repo_hook)",
        }
    }

    /// Where port 22 is closed, Git is reached by ssh under a name of its own.
    fn pages_host<'h>(&self, host: &'h str) -> &'h str {
        match host {
            "ssh.github.com" | "www.github.com" => "github.com",
            other => other,
        }
    }

    fn base(&self, pages: &str) -> String {
        match pages.strip_prefix("https://") {
            Some("github.com") => "https://api.github.com".to_owned(),
            // GitHub Enterprise Cloud with data residency.
            Some(host) if host.ends_with(".ghe.com") => format!("https://api.{host}"),
            _ => format!("{pages}{}", self.base_path()),
        }
    }

    fn base_path(&self) -> &'static str {
        "/api/v3"
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {token}"))
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")]
    }

    /// GitHub asks for a second between writes.
    fn spacing(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn set_status(&self, repository: &str, status: &Status) -> Call {
        let state = match status.state {
            CommitState::Pending => "pending",
            CommitState::Success => "success",
            CommitState::Failure => "failure",
            // There is no word for neither good nor bad.
            CommitState::Superseded => "error",
        };
        let body = json!({
            "state": state, "context": status.context, "description": status.description,
            "target_url": status.link,
        });
        Call::send(Method::POST, format!("/repos/{repository}/statuses/{}", status.commit), body)
    }

    /// 422: no such commit, or a thousand statuses on it already.
    fn judge(&self, reply: &Reply) -> Option<Verdict> {
        (reply.status == 422).then(|| Verdict::Never(reply.message()))
    }

    /// Only Apps may.
    fn annotate(&self, repository: &str, findings: &FindingsRecord, app: bool) -> Option<Call> {
        app.then(|| Call::send(Method::POST, format!("/repos/{repository}/check-runs"), check_run(findings)))
    }

    fn pull_ref(&self, pull: &Pull) -> String {
        format!("refs/pull/{}/head", pull.number)
    }

    fn open_pulls(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/pulls?state=open&per_page=100&page={page}"))
    }

    fn pull(&self, repository: &str, number: u64) -> Call {
        Call::get(format!("/repos/{repository}/pulls/{number}"))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        read_pull(value)
    }

    fn new_pull(&self, repository: &str, pull: &NewPull) -> Call {
        new_pull(repository, pull)
    }

    fn read_link(&self, value: &Value) -> Option<String> {
        read_link(value)
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        read_login(value)
    }

    fn comments(&self, repository: &str, pull: u64, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/issues/{pull}/comments?per_page=100&page={page}"))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        read_comment(value)
    }

    fn add_comment(&self, repository: &str, pull: u64, body: &str) -> Call {
        add_comment(repository, pull, body)
    }

    fn edit_comment(&self, repository: &str, _: u64, comment: u64, body: &str) -> Call {
        edit_comment(repository, comment, body)
    }

    fn hooks(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/hooks?per_page=100&page={page}"))
    }

    fn read_hook(&self, value: &Value) -> Option<Hook> {
        read_hook(value)
    }

    fn set_hook(&self, repository: &str, known: Option<&str>, hook: &NewHook<'_>) -> Call {
        let config =
            json!({"url": hook.url, "content_type": "json", "secret": hook.secret, "insecure_ssl": "0"});
        let mut body = json!({"active": true, "config": config, "events": ["push", "pull_request"]});
        if known.is_none() {
            body["name"] = json!("web");
        }
        put_hook(repository, known, body)
    }
}

fn check_run(record: &FindingsRecord) -> Value {
    let annotations: Vec<_> = record.findings.iter().take(MAX_ANNOTATIONS).map(annotation).collect();
    let errors = record.findings.iter().filter(|finding| finding.is_error()).count();
    let more = record.findings.len().saturating_sub(MAX_ANNOTATIONS);
    let more = if more > 0 { format!(" {more} more are not shown here.") } else { String::new() };
    let summary =
        format!("{errors} errors, {} warnings.{more}", record.findings.len().saturating_sub(errors));
    json!({
        "name": record.name, "head_sha": record.commit, "status": "completed", "details_url": record.link,
        "conclusion": if errors > 0 { "failure" } else { "neutral" },
        "output": {"title": record.title, "summary": summary, "annotations": annotations},
    })
}

fn annotation(finding: &Diagnostic) -> Value {
    // A finding about a whole file is shown at its beginning.
    let (line, column) = (finding.place.line.max(1), finding.place.column.max(1));
    let level = match finding.severity {
        Severity::Error => "failure",
        Severity::Warning => "warning",
    };
    json!({
        "path": finding.place.file, "start_line": line, "end_line": line,
        "start_column": column, "end_column": column,
        "annotation_level": level, "title": finding.code, "message": finding.text(),
    })
}

// --- What Gitea has from GitHub.

pub(super) const SIGNATURE: &str = "x-hub-signature-256";

/// `sha256=<hex of HMAC-SHA256 over the body>` in a header.
pub(super) fn is_signed(secret: &str, headers: &HeaderMap, body: &[u8], header: &str) -> bool {
    let given = single(headers, header).and_then(|value| value.strip_prefix("sha256="));
    given.is_some_and(|hex| hmac_sha256_hex(secret, hex, body))
}

#[derive(Deserialize)]
struct PushEvent {
    #[serde(rename = "ref")]
    reference: String,
    after: Option<String>,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct PullEvent {
    number: u64,
    repository: Repository,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Repository {
    full_name: Option<String>,
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
}

impl Repository {
    fn named(self) -> Named {
        Named::new(self.full_name, [self.clone_url, self.ssh_url, self.html_url])
    }
}

pub(super) fn read_push(body: &[u8]) -> Result<Event, String> {
    let PushEvent { reference, after, repository } = json(body)?;
    let repository = repository.ok_or("the push names no repository")?.named();
    Ok(Event::Push { repository, reference, after })
}

pub(super) fn read_pull_event(body: &[u8]) -> Result<Event, String> {
    let PullEvent { number, repository } = json(body)?;
    Ok(Event::Pull { repository: repository.named(), number })
}

pub(super) fn read_pull(value: &Value) -> Option<Pull> {
    let merged = value["merged"].as_bool().unwrap_or(!value["merged_at"].is_null());
    Some(Pull {
        number: value["number"].as_u64()?,
        head: value["head"]["sha"].as_str()?.parse().ok()?,
        author: read_login(&value["user"]).unwrap_or_default(),
        branch: value["head"]["ref"].as_str().unwrap_or_default().to_owned(),
        base: value["base"]["ref"].as_str()?.to_owned(),
        open: value["state"] == "open",
        merged: value["merge_commit_sha"].as_str().filter(|_| merged).and_then(|commit| commit.parse().ok()),
    })
}

pub(super) fn new_pull(repository: &str, pull: &NewPull) -> Call {
    let body = json!({"head": pull.head, "base": pull.base, "title": pull.title, "body": pull.body});
    Call::send(Method::POST, format!("/repos/{repository}/pulls"), body)
}

pub(super) fn read_link(value: &Value) -> Option<String> {
    value["html_url"].as_str().map(str::to_owned)
}

pub(super) fn read_login(value: &Value) -> Option<String> {
    value["login"].as_str().map(str::to_owned)
}

pub(super) fn read_comment(value: &Value) -> Option<Comment> {
    Some(Comment {
        id: value["id"].as_u64()?,
        author: value["user"]["login"].as_str()?.to_owned(),
        body: value["body"].as_str()?.to_owned(),
    })
}

pub(super) fn add_comment(repository: &str, pull: u64, body: &str) -> Call {
    Call::send(Method::POST, format!("/repos/{repository}/issues/{pull}/comments"), json!({"body": body}))
}

pub(super) fn edit_comment(repository: &str, comment: u64, body: &str) -> Call {
    let path = format!("/repos/{repository}/issues/comments/{comment}");
    Call::send(Method::PATCH, path, json!({"body": body}))
}

pub(super) fn read_hook(value: &Value) -> Option<Hook> {
    Some(Hook { id: value["id"].as_u64()?.to_string(), url: value["config"]["url"].as_str()?.to_owned() })
}

pub(super) fn put_hook(repository: &str, known: Option<&str>, body: Value) -> Call {
    match known {
        Some(id) => Call::send(Method::PATCH, format!("/repos/{repository}/hooks/{id}"), body),
        None => Call::send(Method::POST, format!("/repos/{repository}/hooks"), body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::model::diagnostic::Place;

    #[test]
    fn a_check_run_has_as_many_annotations_as_it_may_and_says_how_many_more_there_are() {
        let finding = |n: u32| Diagnostic::error(Place::at("a.yaml", n, 0), "x", "wrong").hint("mend it");
        let mut findings: Vec<_> = (0..59).map(finding).collect();
        findings.push(Diagnostic::warning(Place::file("b.yaml"), "y", "odd"));
        let commit = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0".parse().unwrap();
        let (repository, name) = ("platform/fleet".to_owned(), "fairlead/default/findings".to_owned());
        let record =
            FindingsRecord { repository, commit, name, title: "59 errors".into(), findings, link: None };
        assert_eq!(Github.annotate("platform/fleet", &record, false), None, "a user's token may not");
        let call = Github.annotate("platform/fleet", &record, true).unwrap();
        let body = call.body.unwrap();
        let annotations = body["output"]["annotations"].as_array().unwrap();
        assert_eq!((annotations.len(), &annotations[0]["start_line"]), (50, &json!(1)));
        assert_eq!(annotations[7]["message"], "wrong (hint: mend it)");
        assert_eq!(body["output"]["summary"], "59 errors, 1 warnings. 10 more are not shown here.");
    }
}
