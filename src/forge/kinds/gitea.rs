//! Gitea and Forgejo. The API is GitHub's in most shapes, below another address.

use std::borrow::Cow;

use http::Method;
use serde_json::{Value, json};

use super::github;
use crate::forge::api::{Call, Comment, Delivery, Event, Forge, Hook, HookGuide, NewHook, NewPull, Pull};
use crate::forge::status::Status;
use crate::forge::webhook::{hmac_sha256_hex, single};
use fairlead_core::rollout::CommitState;

pub struct Gitea;

impl Forge for Gitea {
    fn is_signed(&self, secret: &str, delivery: Delivery<'_>) -> bool {
        let Delivery { headers, body, .. } = delivery;
        let signed = |body: &[u8]| {
            let bare = |name| single(headers, name).is_some_and(|hex| hmac_sha256_hex(secret, hex, body));
            bare("x-gitea-signature")
                || bare("x-forgejo-signature")
                || github::is_signed(secret, headers, body, github::SIGNATURE)
        };
        // Of a form, it signs what is in the field.
        signed(body) || matches!(delivery.json(), Cow::Owned(payload) if signed(&payload))
    }

    fn numbers(&self) -> &'static [&'static str] {
        &["x-gitea-delivery", "x-forgejo-delivery"]
    }

    fn read(&self, delivery: Delivery<'_>) -> Result<Event, String> {
        let headers = delivery.headers;
        match single(headers, "x-gitea-event").or_else(|| single(headers, "x-forgejo-event")) {
            Some("push") => github::read_push(&delivery.json()),
            // Of its kinds of events about pull requests, those two change the commits or the state.
            Some("pull_request" | "pull_request_sync") => github::read_pull_event(&delivery.json()),
            Some(_) => Ok(Event::Other),
            None => Err("no header names the event".to_owned()),
        }
    }

    fn hook_guide(&self) -> HookGuide {
        HookGuide {
            page: "settings/hooks",
            clicks: "Settings, Webhooks, Add webhook, Gitea (or Forgejo)",
            secret: "Secret",
            content_type: Some("application/json"),
            events: "Custom events: Push, Create, Delete, Pull request, Pull request synchronized",
            rights: "a token with write:repository, of a user who is an administrator of the repository",
        }
    }

    fn base(&self, pages: &str) -> String {
        format!("{pages}{}", self.base_path())
    }

    fn base_path(&self) -> &'static str {
        "/api/v1"
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("authorization", format!("token {token}"))
    }

    fn set_status(&self, repository: &str, status: &Status) -> Call {
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
        Call::send(Method::POST, format!("/repos/{repository}/statuses/{}", status.commit), body)
    }

    fn pull_ref(&self, pull: &Pull) -> String {
        format!("refs/pull/{}/head", pull.number)
    }

    fn open_pulls(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/pulls?state=open&limit=50&page={page}"))
    }

    fn pull(&self, repository: &str, number: u64) -> Call {
        Call::get(format!("/repos/{repository}/pulls/{number}"))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        github::read_pull(value)
    }

    fn new_pull(&self, repository: &str, pull: &NewPull) -> Call {
        github::new_pull(repository, pull)
    }

    fn read_link(&self, value: &Value) -> Option<String> {
        github::read_link(value)
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        github::read_login(value)
    }

    /// All of them come at once.
    fn comments(&self, repository: &str, pull: u64, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/issues/{pull}/comments?limit=50&page={page}"))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        github::read_comment(value)
    }

    fn add_comment(&self, repository: &str, pull: u64, body: &str) -> Call {
        github::add_comment(repository, pull, body)
    }

    fn edit_comment(&self, repository: &str, _: u64, comment: u64, body: &str) -> Call {
        github::edit_comment(repository, comment, body)
    }

    fn hooks(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("/repos/{repository}/hooks?limit=50&page={page}"))
    }

    fn read_hook(&self, value: &Value) -> Option<Hook> {
        github::read_hook(value)
    }

    fn set_hook(&self, repository: &str, known: Option<&str>, hook: &NewHook<'_>) -> Call {
        let config = json!({"url": hook.url, "content_type": "json", "secret": hook.secret});
        let mut body = json!({
            "active": true, "config": config,
            "events": ["push", "create", "delete", "pull_request", "pull_request_sync"],
        });
        if known.is_none() {
            body["type"] = json!("gitea");
        }
        github::put_hook(repository, known, body)
    }
}
