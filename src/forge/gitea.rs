//! Gitea and Forgejo.

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Call, Comment, NewPull, Pull, Reply, Verdict};
use super::github;
use super::status::Status;
use crate::rollout::CommitState;

/// Its API is GitHub's in most shapes, below another address.
pub(super) struct Gitea {
    /// `/repos/<owner>/<name>`
    repository: String,
}

impl Gitea {
    pub(super) fn new(repository: &str) -> Self {
        Self { repository: format!("/repos/{repository}") }
    }
}

impl Api for Gitea {
    fn base(&self, authority: &str) -> String {
        format!("https://{authority}/api/v1")
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("authorization", format!("token {token}"))
    }

    fn pull_ref(&self, number: u64) -> String {
        format!("refs/pull/{number}/head")
    }

    fn set_status(&self, status: &Status) -> Call {
        // Sent as `state`; what comes back calls it `status`.
        let state = match status.state {
            CommitState::Pending => "pending",
            CommitState::Success => "success",
            CommitState::Failure => "failure",
            CommitState::Superseded => "warning",
        };
        let body = json!({
            "state": state, "context": status.context, "description": status.description,
            "target_url": status.link,
        });
        Call::send(Method::POST, format!("{}/statuses/{}", self.repository, status.commit), body)
    }

    fn judge(&self, _: &Reply) -> Option<Verdict> {
        None
    }

    fn open_pulls(&self, page: u32) -> Call {
        Call::get(format!("{}/pulls?state=open&limit=50&page={page}", self.repository))
    }

    fn pull(&self, number: u64) -> Call {
        Call::get(format!("{}/pulls/{number}", self.repository))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        github::read_pull(value)
    }

    fn new_pull(&self, pull: &NewPull) -> Call {
        let body = json!({"head": pull.head, "base": pull.base, "title": pull.title, "body": pull.body});
        Call::send(Method::POST, format!("{}/pulls", self.repository), body)
    }

    fn myself(&self) -> Option<Call> {
        Some(Call::get("/user".to_owned()))
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        value["login"].as_str().map(str::to_owned)
    }

    /// Gitea gives all of them at once.
    fn comments(&self, pull: u64, page: u32) -> Call {
        Call::get(format!("{}/issues/{pull}/comments?limit=50&page={page}", self.repository))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        github::read_comment(value)
    }

    fn add_comment(&self, pull: u64, body: &str) -> Call {
        let path = format!("{}/issues/{pull}/comments", self.repository);
        Call::send(Method::POST, path, json!({"body": body}))
    }

    fn edit_comment(&self, _: u64, comment: u64, body: &str) -> Call {
        let path = format!("{}/issues/comments/{comment}", self.repository);
        Call::send(Method::PATCH, path, json!({"body": body}))
    }

    fn add_webhook(&self, url: &str, secret: &str) -> Call {
        let config = json!({"url": url, "content_type": "json", "secret": secret});
        let body = json!({
            "type": "gitea", "active": true, "config": config,
            "events": ["push", "create", "delete", "pull_request", "pull_request_sync"],
        });
        Call::send(Method::POST, format!("{}/hooks", self.repository), body)
    }
}
