//! GitLab.

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Call, Comment, NewPull, Pull, Reply, Verdict, segment};
use super::status::Status;
use crate::rollout::CommitState;

pub(super) struct Gitlab {
    /// `/projects/<path, as one segment>`
    project: String,
}

impl Gitlab {
    pub(super) fn new(repository: &str) -> Self {
        Self { project: format!("/projects/{}", segment(repository)) }
    }
}

impl Api for Gitlab {
    fn base(&self, authority: &str) -> String {
        format!("https://{authority}/api/v4")
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("private-token", token.to_owned())
    }

    fn max_comment(&self) -> usize {
        1_000_000
    }

    fn pull_ref(&self, number: u64) -> String {
        format!("refs/merge-requests/{number}/head")
    }

    fn set_status(&self, status: &Status) -> Call {
        let state = match status.state {
            CommitState::Pending => "running",
            CommitState::Success => "success",
            CommitState::Failure => "failed",
            CommitState::Superseded => "canceled",
        };
        let body = json!({
            "state": state, "name": status.context, "description": status.description,
            "target_url": status.link,
        });
        Call::send(Method::POST, format!("{}/statuses/{}", self.project, status.commit), body)
    }

    fn judge(&self, reply: &Reply) -> Option<Verdict> {
        let message = reply.message();
        match reply.status {
            // It has that state already.
            400 if message.contains("Cannot transition status") => Some(Verdict::Done),
            404 if message.contains("Commit") => Some(Verdict::Never(message)),
            _ => None,
        }
    }

    fn open_pulls(&self, page: u32) -> Call {
        Call::get(format!("{}/merge_requests?state=opened&per_page=100&page={page}", self.project))
    }

    fn pull(&self, number: u64) -> Call {
        Call::get(format!("{}/merge_requests/{number}", self.project))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        let merged = value["merge_commit_sha"].as_str().or_else(|| value["squash_commit_sha"].as_str());
        let head = value["sha"].as_str()?;
        Some(Pull {
            number: value["iid"].as_u64()?,
            head: head.parse().ok()?,
            base: value["target_branch"].as_str()?.to_owned(),
            open: value["state"] == "opened",
            // A fast-forward merge has neither: then the head itself is on the branch.
            merged: (value["state"] == "merged").then(|| merged.unwrap_or(head).parse().ok()).flatten(),
        })
    }

    fn new_pull(&self, pull: &NewPull) -> Call {
        let body = json!({
            "source_branch": pull.head, "target_branch": pull.base, "title": pull.title,
            "description": pull.body,
        });
        Call::send(Method::POST, format!("{}/merge_requests", self.project), body)
    }

    fn myself(&self) -> Option<Call> {
        Some(Call::get("/user".to_owned()))
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        value["username"].as_str().map(str::to_owned)
    }

    fn comments(&self, pull: u64, page: u32) -> Call {
        Call::get(format!("{}/merge_requests/{pull}/notes?per_page=100&page={page}", self.project))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        Some(Comment {
            id: value["id"].as_u64()?,
            author: value["author"]["username"].as_str()?.to_owned(),
            body: value["body"].as_str()?.to_owned(),
        })
    }

    fn add_comment(&self, pull: u64, body: &str) -> Call {
        let path = format!("{}/merge_requests/{pull}/notes", self.project);
        Call::send(Method::POST, path, json!({"body": body}))
    }

    fn edit_comment(&self, pull: u64, comment: u64, body: &str) -> Call {
        let path = format!("{}/merge_requests/{pull}/notes/{comment}", self.project);
        Call::send(Method::PUT, path, json!({"body": body}))
    }

    fn add_webhook(&self, url: &str, secret: &str) -> Call {
        let body = json!({
            "url": url, "token": secret, "push_events": true, "tag_push_events": true,
            "merge_requests_events": true, "enable_ssl_verification": true,
        });
        Call::send(Method::POST, format!("{}/hooks", self.project), body)
    }
}
