//! GitHub, and GitHub Enterprise.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Call, Comment, NewPull, Pull, Reply, Verdict};
use super::status::Status;
use crate::rollout::CommitState;

pub(super) struct Github {
    /// `/repos/<owner>/<name>`
    repository: String,
    /// The credential is an App's: it is no user.
    app: bool,
}

impl Github {
    pub(super) fn new(repository: &str, app: bool) -> Self {
        Self { repository: format!("/repos/{repository}"), app }
    }
}

impl Api for Github {
    fn base(&self, authority: &str) -> String {
        match authority {
            "github.com" => "https://api.github.com".to_owned(),
            enterprise => format!("https://{enterprise}/api/v3"),
        }
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

    fn pull_ref(&self, number: u64) -> String {
        format!("refs/pull/{number}/head")
    }

    fn set_status(&self, status: &Status) -> Call {
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
        Call::send(Method::POST, format!("{}/statuses/{}", self.repository, status.commit), body)
    }

    /// 422: no such commit, or a thousand statuses on it already.
    fn judge(&self, reply: &Reply) -> Option<Verdict> {
        (reply.status == 422).then(|| Verdict::Never(reply.message()))
    }

    fn open_pulls(&self, page: u32) -> Call {
        Call::get(format!("{}/pulls?state=open&per_page=100&page={page}", self.repository))
    }

    fn pull(&self, number: u64) -> Call {
        Call::get(format!("{}/pulls/{number}", self.repository))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        read_pull(value)
    }

    fn new_pull(&self, pull: &NewPull) -> Call {
        let body = json!({"head": pull.head, "base": pull.base, "title": pull.title, "body": pull.body});
        Call::send(Method::POST, format!("{}/pulls", self.repository), body)
    }

    /// An App's token is no user, and may not ask.
    fn myself(&self) -> Option<Call> {
        (!self.app).then(|| Call::get("/user".to_owned()))
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        value["login"].as_str().map(str::to_owned)
    }

    fn comments(&self, pull: u64, page: u32) -> Call {
        Call::get(format!("{}/issues/{pull}/comments?per_page=100&page={page}", self.repository))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        read_comment(value)
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
        let config = json!({"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"});
        let body =
            json!({"name": "web", "active": true, "config": config, "events": ["push", "pull_request"]});
        Call::send(Method::POST, format!("{}/hooks", self.repository), body)
    }
}

/// A pull request as GitHub and Gitea write it.
pub(super) fn read_pull(value: &Value) -> Option<Pull> {
    let merged = value["merged"].as_bool().unwrap_or(!value["merged_at"].is_null());
    Some(Pull {
        number: value["number"].as_u64()?,
        head: value["head"]["sha"].as_str()?.parse().ok()?,
        base: value["base"]["ref"].as_str()?.to_owned(),
        open: value["state"] == "open",
        merged: value["merge_commit_sha"].as_str().filter(|_| merged).and_then(|commit| commit.parse().ok()),
    })
}

/// A comment as GitHub and Gitea write it.
pub(super) fn read_comment(value: &Value) -> Option<Comment> {
    Some(Comment {
        id: value["id"].as_u64()?,
        author: value["user"]["login"].as_str()?.to_owned(),
        body: value["body"].as_str()?.to_owned(),
    })
}
