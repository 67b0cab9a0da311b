//! GitLab's REST API, version 4, as far as it is asked: shapes from its public documents.

use serde_json::{Value, json};

use super::server::{Answer, Asked, BOT, Known, Note, PROJECT, Pull, Told, invalid};

pub fn answer(known: &mut Known, asked: &Asked<'_>) -> Result<Answer, Answer> {
    let token = asked.headers.get("private-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let writes = known.tokens.iter().any(|known| known == token);
    if !writes && !known.readers.iter().any(|known| known == token) {
        return Err(refuse(401, "401 Unauthorized"));
    }
    let method = asked.method.as_str();
    if let ("GET", ["user"]) = (method, &asked.path[..]) {
        return Ok(Answer::ok(200, json!({"id": 1, "username": BOT, "state": "active"})));
    }
    let Some(["projects", project]) = asked.path.get(..2) else { return Err(refuse(404, "404 Not Found")) };
    if *project != PROJECT.replace('/', "%2F") {
        return Err(refuse(404, "404 Project Not Found"));
    }
    if !writes && method != "GET" {
        return Err(refuse(403, "403 Forbidden"));
    }
    match (method, &asked.path[2..]) {
        ("POST", ["statuses", commit]) => status(known, asked, commit),
        ("GET", ["merge_requests"]) => {
            let open = known.pulls.iter().filter(|pull| pull.open).map(merge_json).collect();
            Ok(asked.page(open))
        }
        ("POST", ["merge_requests"]) => {
            let number = known.id();
            let head = known.commits.last().cloned().unwrap_or_default();
            let branch = asked.text("source_branch", 250)?;
            asked.text("target_branch", 250)?;
            asked.text("title", 255)?;
            known.pulls.push(Pull { number, branch, head, draft: false, open: true, merged: None });
            Ok(Answer::ok(201, merge_json(&known.pulls[known.pulls.len() - 1])))
        }
        ("GET", ["merge_requests", number]) => {
            let pull = known.pull(number).ok_or_else(|| refuse(404, "404 Not found"))?;
            Ok(Answer::ok(200, merge_json(pull)))
        }
        ("GET", ["merge_requests", number, "notes"]) => {
            let of = known.notes.iter().filter(|note| note.pull.to_string() == *number);
            Ok(asked.page(of.map(note_json).collect()))
        }
        ("POST", ["merge_requests", number, "notes"]) => {
            asked.has_only(&["body"])?;
            let pull = known.pull(number).ok_or_else(|| refuse(404, "404 Not found"))?.number;
            let (body, id) = (asked.text("body", 1_000_000)?, known.id());
            known.notes.push(Note { id, pull, author: BOT.to_owned(), body, edits: 0 });
            Ok(Answer::ok(201, note_json(&known.notes[known.notes.len() - 1])))
        }
        ("PUT", ["merge_requests", number, "notes", id]) => {
            asked.has_only(&["body"])?;
            let body = asked.text("body", 1_000_000)?;
            let of = |note: &&mut Note| note.id.to_string() == *id && note.pull.to_string() == *number;
            let note = known.notes.iter_mut().find(of).ok_or_else(|| refuse(404, "404 Not found"))?;
            (note.body, note.edits) = (body, note.edits + 1);
            Ok(Answer::ok(200, note_json(note)))
        }
        ("GET", ["hooks"]) if writes => {
            Ok(asked.page(known.hooks.iter().map(|(id, hook)| hook_json(*id, hook)).collect()))
        }
        ("POST", ["hooks"]) => {
            hook(asked)?;
            let id = known.id();
            known.hooks.push((id, asked.body.clone()));
            Ok(Answer::ok(201, hook_json(id, &asked.body)))
        }
        ("PUT", ["hooks", id]) => {
            hook(asked)?;
            let known = known.hooks.iter_mut().find(|(known, _)| known.to_string() == *id);
            let known = known.ok_or_else(|| refuse(404, "404 Not found"))?;
            known.1 = asked.body.clone();
            Ok(Answer::ok(200, hook_json(known.0, &known.1)))
        }
        _ => Err(refuse(404, "404 Not Found")),
    }
}

fn refuse(status: u16, message: &str) -> Answer {
    Answer::ok(status, json!({"message": message}))
}

fn status(known: &mut Known, asked: &Asked<'_>, commit: &str) -> Result<Answer, Answer> {
    asked.has_only(&["state", "name", "description", "target_url"])?;
    let state = asked.one_of("state", &["pending", "running", "success", "failed", "canceled", "skipped"])?;
    let (context, description) = (asked.text("name", 255)?, asked.text("description", 255)?);
    let link = asked.address("target_url")?;
    if !known.commits.iter().any(|known| known == commit) {
        return Err(refuse(404, "404 Commit Not Found"));
    }
    let before = known.told.iter().rev().find(|told| told.commit == commit && told.context == context);
    if before.is_some_and(|before| before.state == state) {
        let text = format!(
            "Cannot transition status via :run from :{state} (Reason(s): Status cannot transition via \"run\")"
        );
        return Err(refuse(400, &text));
    }
    let body = json!({"id": known.id(), "sha": commit, "status": state, "name": context,
        "description": description, "target_url": link});
    known.told.push(Told { commit: commit.to_owned(), context, state, description, link });
    Ok(Answer::ok(201, body))
}

fn merge_json(pull: &Pull) -> Value {
    let state = match (pull.open, &pull.merged) {
        (true, _) => "opened",
        (false, Some(_)) => "merged",
        (false, None) => "closed",
    };
    json!({
        "id": 1_000 + pull.number, "iid": pull.number, "state": state, "draft": pull.draft,
        "source_branch": pull.branch, "target_branch": "main", "sha": pull.head,
        "merge_commit_sha": pull.merged, "squash_commit_sha": null,
        "web_url": format!("https://gitlab.example.com/{PROJECT}/-/merge_requests/{}", pull.number),
        "author": {"username": "ada"},
    })
}

fn note_json(note: &Note) -> Value {
    json!({"id": note.id, "author": {"username": note.author}, "body": note.body, "system": false})
}

fn hook(asked: &Asked<'_>) -> Result<(), Answer> {
    let flags = ["push_events", "tag_push_events", "merge_requests_events", "enable_ssl_verification"];
    asked.has_only(&[&flags[..], &["url", "token", "signing_token"]].concat())?;
    asked.address("url")?;
    let flags = flags.iter().all(|flag| asked.body[*flag].is_boolean());
    let secret = asked.body["token"].is_string() != asked.body["signing_token"].is_string();
    if flags && secret { Ok(()) } else { Err(invalid("the webhook is not whole")) }
}

/// Never with the token.
fn hook_json(id: u64, hook: &Value) -> Value {
    json!({"id": id, "url": hook["url"], "project_id": 3, "push_events": true})
}
