//! GitLab.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::forge::api::{
    Call, Comment, Delivery, Event, Forge, Hook, HookGuide, Named, NewHook, NewPull, Pull, Reply, Verdict,
    segment,
};
use crate::forge::status::Status;
use crate::forge::webhook::{SIGNING_KEY, is_same_secret, json, single, standard_webhook};
use fairlead_core::rollout::CommitState;

pub struct Gitlab;

/// A project is named by its path, as one segment.
fn project(repository: &str) -> String {
    format!("/projects/{}", segment(repository))
}

impl Forge for Gitlab {
    /// A signing key signs; a token is sent as it is.
    fn is_signed(&self, secret: &str, delivery: Delivery<'_>) -> bool {
        match secret.strip_prefix(SIGNING_KEY) {
            Some(key) => standard_webhook(key, delivery),
            None => {
                single(delivery.headers, "x-gitlab-token").is_some_and(|given| is_same_secret(given, secret))
            }
        }
    }

    /// The event's own number comes last: events that follow from one another share it.
    fn numbers(&self) -> &'static [&'static str] {
        &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"]
    }

    fn read(&self, delivery: Delivery<'_>) -> Result<Event, String> {
        let body = &*delivery.json();
        match single(delivery.headers, "x-gitlab-event") {
            Some("Push Hook" | "Tag Push Hook") => {
                let PushEvent { reference, after, project } = json(body)?;
                Ok(Event::Push { repository: project.named(), reference, after })
            }
            Some("Merge Request Hook") => {
                let MergeEvent { object_attributes, project } = json(body)?;
                Ok(Event::Pull { repository: project.named(), number: object_attributes.iid })
            }
            Some(_) => Ok(Event::Other),
            None => Err("no header names the event".to_owned()),
        }
    }

    fn hook_guide(&self) -> HookGuide {
        HookGuide {
            page: "-/hooks",
            clicks: "Settings, Webhooks, Add new webhook",
            secret: "Secret token (or Signing token, for a secret that begins with whsec_)",
            content_type: None,
            events: "Push events, Tag push events, Merge request events",
            rights: "a token with the scope api, of a Maintainer of the project",
        }
    }

    /// Where port 22 is closed, Git is reached by ssh under a name of its own.
    fn pages_host<'h>(&self, host: &'h str) -> &'h str {
        if host == "altssh.gitlab.com" { "gitlab.com" } else { host }
    }

    /// Groups are nested.
    fn name_parts(&self) -> Option<usize> {
        None
    }

    fn base(&self, pages: &str) -> String {
        format!("{pages}{}", self.base_path())
    }

    fn base_path(&self) -> &'static str {
        "/api/v4"
    }

    fn authorization(&self, token: &str) -> (&'static str, String) {
        ("private-token", token.to_owned())
    }

    fn set_status(&self, repository: &str, status: &Status) -> Call {
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
        Call::send(Method::POST, format!("{}/statuses/{}", project(repository), status.commit), body)
    }

    fn judge(&self, reply: &Reply) -> Option<Verdict> {
        let said = reply.said();
        match reply.status {
            // It has that state already.
            400 if said.contains("Cannot transition status") => Some(Verdict::Done),
            404 if said.contains("Commit") => Some(Verdict::Never(reply.message())),
            _ => None,
        }
    }

    fn pull_ref(&self, pull: &Pull) -> String {
        format!("refs/merge-requests/{}/head", pull.number)
    }

    fn open_pulls(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("{}/merge_requests?state=opened&per_page=100&page={page}", project(repository)))
    }

    fn pull(&self, repository: &str, number: u64) -> Call {
        Call::get(format!("{}/merge_requests/{number}", project(repository)))
    }

    fn read_pull(&self, value: &Value) -> Option<Pull> {
        let merged = value["merge_commit_sha"].as_str().or_else(|| value["squash_commit_sha"].as_str());
        let head = value["sha"].as_str()?;
        Some(Pull {
            number: value["iid"].as_u64()?,
            head: head.parse().ok()?,
            author: value["author"]["username"].as_str().unwrap_or_default().to_owned(),
            branch: value["source_branch"].as_str().unwrap_or_default().to_owned(),
            base: value["target_branch"].as_str()?.to_owned(),
            open: value["state"] == "opened",
            // A fast-forward merge has neither: then the head itself is on the branch.
            merged: (value["state"] == "merged").then(|| merged.unwrap_or(head).parse().ok()).flatten(),
        })
    }

    fn new_pull(&self, repository: &str, pull: &NewPull) -> Call {
        let body = json!({
            "source_branch": pull.head, "target_branch": pull.base, "title": pull.title,
            "description": pull.body,
        });
        Call::send(Method::POST, format!("{}/merge_requests", project(repository)), body)
    }

    fn read_link(&self, value: &Value) -> Option<String> {
        value["web_url"].as_str().map(str::to_owned)
    }

    fn max_comment(&self) -> usize {
        1_000_000
    }

    fn read_myself(&self, value: &Value) -> Option<String> {
        value["username"].as_str().map(str::to_owned)
    }

    fn comments(&self, repository: &str, pull: u64, page: u32) -> Call {
        let project = project(repository);
        Call::get(format!("{project}/merge_requests/{pull}/notes?per_page=100&page={page}"))
    }

    fn read_comment(&self, value: &Value) -> Option<Comment> {
        Some(Comment {
            id: value["id"].as_u64()?,
            author: value["author"]["username"].as_str()?.to_owned(),
            body: value["body"].as_str()?.to_owned(),
        })
    }

    fn add_comment(&self, repository: &str, pull: u64, body: &str) -> Call {
        let path = format!("{}/merge_requests/{pull}/notes", project(repository));
        Call::send(Method::POST, path, json!({"body": body}))
    }

    fn edit_comment(&self, repository: &str, pull: u64, comment: u64, body: &str) -> Call {
        let path = format!("{}/merge_requests/{pull}/notes/{comment}", project(repository));
        Call::send(Method::PUT, path, json!({"body": body}))
    }

    fn hooks(&self, repository: &str, page: u32) -> Call {
        Call::get(format!("{}/hooks?per_page=100&page={page}", project(repository)))
    }

    fn read_hook(&self, value: &Value) -> Option<Hook> {
        Some(Hook { id: value["id"].as_u64()?.to_string(), url: value["url"].as_str()?.to_owned() })
    }

    fn set_hook(&self, repository: &str, known: Option<&str>, hook: &NewHook<'_>) -> Call {
        let secret = if hook.secret.starts_with(SIGNING_KEY) { "signing_token" } else { "token" };
        let mut body = json!({
            "url": hook.url, "push_events": true, "tag_push_events": true, "merge_requests_events": true,
            "enable_ssl_verification": true,
        });
        body[secret] = json!(hook.secret);
        match known {
            Some(id) => Call::send(Method::PUT, format!("{}/hooks/{id}", project(repository)), body),
            None => Call::send(Method::POST, format!("{}/hooks", project(repository)), body),
        }
    }
}

#[derive(Deserialize)]
struct PushEvent {
    #[serde(rename = "ref")]
    reference: String,
    after: Option<String>,
    /// A push names its repository twice; only this one has all addresses.
    project: Project,
}

#[derive(Deserialize)]
struct MergeEvent {
    object_attributes: MergeAttributes,
    project: Project,
}

#[derive(Deserialize)]
struct MergeAttributes {
    iid: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Project {
    path_with_namespace: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    web_url: Option<String>,
}

impl Project {
    fn named(self) -> Named {
        Named::new(self.path_with_namespace, [self.git_http_url, self.git_ssh_url, self.web_url])
    }
}
