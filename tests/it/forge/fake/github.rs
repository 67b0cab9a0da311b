//! GitHub's REST API, version 2022-11-28, as far as it is asked: shapes from its public documents.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::server::{Answer, Asked, BOT, Known, Note, PROJECT, Pull, Told, invalid};

pub fn answer(known: &mut Known, asked: &Asked<'_>) -> Result<Answer, Answer> {
    if asked.headers.get("accept").is_none_or(|accept| accept != "application/vnd.github+json") {
        return Err(invalid("accept is not application/vnd.github+json"));
    }
    let authorization = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else { return Err(refuse(401, "Requires authentication")) };
    let method = asked.method.as_str();
    if let ("POST", ["app", "installations", "77", "access_tokens"]) = (method, &asked.path[..]) {
        return installation_token(known, token);
    }
    let app = token.starts_with("ghs_");
    let writes = known.tokens.iter().any(|known| known == token);
    if !writes && !known.readers.iter().any(|known| known == token) {
        return Err(refuse(401, "Bad credentials"));
    }
    if let ("GET", ["user"]) = (method, &asked.path[..]) {
        return match app {
            true => Err(refuse(403, "Resource not accessible by integration")),
            false => Ok(Answer::ok(200, json!({"login": BOT, "id": 1, "type": "User"}))),
        };
    }
    let Some(["repos", owner, name]) = asked.path.get(..3) else { return Err(refuse(404, "Not Found")) };
    if format!("{owner}/{name}") != PROJECT {
        return Err(refuse(404, "Not Found"));
    }
    if !writes && method != "GET" {
        return Err(refuse(403, "Resource not accessible by personal access token"));
    }
    match (method, &asked.path[3..]) {
        ("POST", ["statuses", commit]) => status(known, asked, commit),
        ("POST", ["check-runs"]) if app => check_run(known, asked),
        ("POST", ["check-runs"]) => Err(invalid("only GitHub Apps may create check runs")),
        ("GET", ["pulls"]) => {
            let open = known.pulls.iter().filter(|pull| pull.open).map(pull_json).collect();
            Ok(asked.page(open))
        }
        ("POST", ["pulls"]) => {
            let number = known.id();
            let (branch, head) =
                (asked.text("head", 250)?, known.commits.last().cloned().unwrap_or_default());
            asked.text("base", 250)?;
            asked.text("title", 256)?;
            known.pulls.push(Pull { number, branch, head, draft: false, open: true, merged: None });
            Ok(Answer::ok(201, pull_json(&known.pulls[known.pulls.len() - 1])))
        }
        ("GET", ["pulls", number]) => {
            let pull = known.pull(number).ok_or_else(|| refuse(404, "Not Found"))?;
            Ok(Answer::ok(200, pull_json(pull)))
        }
        ("GET", ["issues", number, "comments"]) => {
            let of = known.notes.iter().filter(|note| note.pull.to_string() == *number);
            Ok(asked.page(of.map(note_json).collect()))
        }
        ("POST", ["issues", number, "comments"]) => {
            asked.has_only(&["body"])?;
            let pull = known.pull(number).ok_or_else(|| refuse(404, "Not Found"))?.number;
            let (body, id) = (asked.text("body", 65_536)?, known.id());
            let author = if app { "fairlead[bot]" } else { BOT }.to_owned();
            known.notes.push(Note { id, pull, author, body, edits: 0 });
            Ok(Answer::ok(201, note_json(&known.notes[known.notes.len() - 1])))
        }
        ("PATCH", ["issues", "comments", id]) => {
            asked.has_only(&["body"])?;
            let body = asked.text("body", 65_536)?;
            let note = known.notes.iter_mut().find(|note| note.id.to_string() == *id);
            let note = note.ok_or_else(|| refuse(404, "Not Found"))?;
            (note.body, note.edits) = (body, note.edits + 1);
            Ok(Answer::ok(200, note_json(note)))
        }
        ("GET", ["hooks", ..]) if !writes => Err(refuse(404, "Not Found")),
        (method, ["hooks", rest @ ..]) => hooks(known, asked, method, rest),
        _ => Err(refuse(404, "Not Found")),
    }
}

fn hooks(known: &mut Known, asked: &Asked<'_>, method: &str, rest: &[&str]) -> Result<Answer, Answer> {
    match (method, rest) {
        ("GET", []) => Ok(asked.page(known.hooks.iter().map(|(id, hook)| hook_json(*id, hook)).collect())),
        ("POST", []) => {
            asked.has_only(&["name", "active", "config", "events"])?;
            asked.one_of("name", &["web"])?;
            hook(asked)?;
            let id = known.id();
            known.hooks.push((id, asked.body.clone()));
            Ok(Answer::ok(201, hook_json(id, &asked.body)))
        }
        ("PATCH", [id]) => {
            asked.has_only(&["active", "config", "events"])?;
            hook(asked)?;
            let known = known.hooks.iter_mut().find(|(known, _)| known.to_string() == *id);
            let known = known.ok_or_else(|| refuse(404, "Not Found"))?;
            known.1 = asked.body.clone();
            Ok(Answer::ok(200, hook_json(known.0, &known.1)))
        }
        _ => Err(refuse(404, "Not Found")),
    }
}

fn refuse(status: u16, message: &str) -> Answer {
    let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()});
    Answer::ok(status, body)
}

fn status(known: &mut Known, asked: &Asked<'_>, commit: &str) -> Result<Answer, Answer> {
    asked.has_only(&["state", "target_url", "description", "context"])?;
    let state = asked.one_of("state", &["error", "failure", "pending", "success"])?;
    let (context, description) = (asked.text("context", 250)?, asked.text("description", 140)?);
    let link = asked.address("target_url")?;
    if !known.commits.iter().any(|known| known == commit) {
        return Err(refuse(422, &format!("No commit found for SHA: {commit}")));
    }
    let body = json!({"id": known.id(), "state": state, "context": context, "description": description,
        "target_url": link});
    known.told.push(Told { commit: commit.to_owned(), context, state, description, link });
    Ok(Answer::ok(201, body))
}

fn check_run(known: &mut Known, asked: &Asked<'_>) -> Result<Answer, Answer> {
    asked.has_only(&["name", "head_sha", "status", "conclusion", "details_url", "output"])?;
    asked.text("name", 250)?;
    asked.text("head_sha", 40)?;
    asked.one_of("status", &["queued", "in_progress", "completed"])?;
    asked.one_of("conclusion", &["failure", "neutral", "success", "cancelled", "action_required"])?;
    asked.address("details_url")?;
    let output = &asked.body["output"];
    if !output["title"].is_string() || !output["summary"].is_string() {
        return Err(invalid("an output has a title and a summary"));
    }
    let annotations = output["annotations"].as_array().ok_or_else(|| invalid("no annotations"))?;
    if annotations.len() > 50 {
        return Err(refuse(422, "at most 50 annotations"));
    }
    for annotation in annotations {
        let lines = [&annotation["start_line"], &annotation["end_line"]];
        let level = annotation["annotation_level"].as_str().unwrap_or_default();
        let whole = lines.iter().all(|line| line.as_u64().is_some_and(|line| line > 0))
            && ["notice", "warning", "failure"].contains(&level)
            && annotation["path"].is_string()
            && annotation["message"].as_str().is_some_and(|message| !message.is_empty());
        if !whole {
            return Err(invalid(&format!("an annotation is {annotation}")));
        }
    }
    known.check_runs.push(asked.body.clone());
    Ok(Answer::ok(201, json!({"id": known.id(), "status": "completed"})))
}

/// The App shows a JWT that its key has signed.
fn installation_token(known: &mut Known, jwt: &str) -> Result<Answer, Answer> {
    let key = known.app_key.clone().ok_or_else(|| refuse(404, "Integration not found"))?;
    let bad = || refuse(401, "A JSON web token could not be decoded");
    let (message, signature) = jwt.rsplit_once('.').ok_or_else(bad)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| bad())?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(message.as_bytes(), &signature).map_err(|_| bad())?;
    let claims = message.split_once('.').and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = serde_json::from_slice(&claims.ok_or_else(bad)?).map_err(|_| bad())?;
    let (now, until) = (Timestamp::now().as_second(), claims["exp"].as_i64().unwrap_or_default());
    if claims["iss"] != "Iv23fake" || until <= now || until > now + 600 {
        return Err(refuse(401, "'Expiration time' claim ('exp') is too far in the future"));
    }
    known.given += 1;
    let token = format!("ghs_{}", known.given);
    known.tokens.push(token.clone());
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    Ok(Answer::ok(201, json!({"token": token, "expires_at": until.to_string(), "permissions": {}})))
}

fn pull_json(pull: &Pull) -> Value {
    json!({
        "number": pull.number, "state": if pull.open { "open" } else { "closed" }, "draft": pull.draft,
        "html_url": format!("https://github.example.com/{PROJECT}/pull/{}", pull.number),
        "merged": pull.merged.is_some(), "merged_at": pull.merged.as_ref().map(|_| "2026-01-01T00:00:00Z"),
        // GitHub shows a test merge here while the pull request is open.
        "merge_commit_sha": pull.merged.clone().unwrap_or_else(|| "ab".repeat(20)),
        "head": {"ref": pull.branch, "sha": pull.head, "repo": null},
        "base": {"ref": "main", "sha": "cd".repeat(20)}, "user": {"login": "ada"},
    })
}

fn note_json(note: &Note) -> Value {
    json!({"id": note.id, "user": {"login": note.author}, "body": note.body})
}

fn hook(asked: &Asked<'_>) -> Result<(), Answer> {
    let (config, events) = (&asked.body["config"], asked.body["events"].as_array());
    let whole = config["url"].is_string() && config["secret"].is_string() && config["content_type"] == "json";
    let known = ["push", "pull_request"];
    let good =
        events.is_some_and(|events| events.iter().all(|event| known.iter().any(|known| event == known)));
    if whole && good { Ok(()) } else { Err(invalid("the webhook is not whole")) }
}

fn hook_json(id: u64, hook: &Value) -> Value {
    let mut config = hook["config"].clone();
    config["secret"] = json!("********");
    json!({"id": id, "type": "Repository", "name": "web", "active": true, "events": hook["events"], "config": config})
}
