//! The one comment on a pull request: created once, found again, and edited only when it says something else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::{Comment, Reply, Verdict};
use super::client::Client;
use crate::store::Write;

/// A comment on its way to the forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommentRecord {
    pub repository: String,
    pub pull: u64,
    /// Which of our comments it is; hidden in it.
    pub marker: String,
    pub body: String,
    /// Nothing more follows it.
    pub last: bool,
}

impl CommentRecord {
    /// The outbox's kind of a comment.
    pub const KIND: &str = "comment";

    /// For the outbox.
    pub fn write(&self, now: Timestamp) -> Option<Write> {
        // Of strings and numbers: it can't fail.
        let payload = serde_json::to_vec(self).ok()?;
        Some(Write::Report { kind: Self::KIND.to_owned(), key: self.key(), payload, next_at: now })
    }

    /// Of each pull request only the newest counts.
    fn key(&self) -> String {
        format!("{}#{}", self.marker, self.pull)
    }

    /// What the forge keeps: the marker, then the text.
    fn text(&self) -> String {
        format!("{}\n{}", hidden(&self.marker), self.body)
    }
}

fn hidden(marker: &str) -> String {
    format!("<!-- fairlead:{marker} -->")
}

/// Brings the comment to the forge. Gives its id, as far as it is known.
pub(super) async fn put(
    client: &Client,
    record: &CommentRecord,
    login: Option<&str>,
    known: Option<u64>,
) -> (Verdict, Option<u64>) {
    let text = record.text();
    let (forge, repository) = (client.forge(), client.repository());
    if let Some(id) = known {
        let verdict = client.write(&forge.edit_comment(repository, record.pull, id, &text)).await;
        // Somebody deleted it: the next try looks for it.
        return if matches!(verdict, Verdict::Done) { (verdict, Some(id)) } else { (again(verdict), None) };
    }
    // Also when it was created already and the answer was lost.
    let found = match client.comments(record.pull).await {
        Ok(comments) => ours(comments, record, login),
        Err(error) => {
            return (Verdict::Later { after: None, everything: false, reason: error.to_string() }, None);
        }
    };
    match found {
        Some(comment) if same(&comment.body, &text) => (Verdict::Done, Some(comment.id)),
        Some(comment) => (
            client.write(&forge.edit_comment(repository, record.pull, comment.id, &text)).await,
            Some(comment.id),
        ),
        None => match client.call(&forge.add_comment(repository, record.pull, &text)).await {
            Ok(reply) => (client.judge(&reply), created(client, &reply)),
            Err(error) => (Verdict::Later { after: None, everything: true, reason: error.to_string() }, None),
        },
    }
}

fn created(client: &Client, reply: &Reply) -> Option<u64> {
    reply.is_success().then(|| client.forge().read_comment(&reply.body).map(|comment| comment.id))?
}

/// "Not found" is no last word while we guess where the comment is.
fn again(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Never(reason) => Verdict::Later { after: None, everything: false, reason },
        other => other,
    }
}

/// The first with our marker at its beginning, and by us: anybody can write the marker.
fn ours(comments: Vec<Comment>, record: &CommentRecord, login: Option<&str>) -> Option<Comment> {
    let marker = hidden(&record.marker);
    let by_us = |comment: &Comment| login.is_none_or(|login| comment.author.eq_ignore_ascii_case(login));
    comments.into_iter().find(|comment| comment.body.starts_with(&marker) && by_us(comment))
}

/// Forges change line ends, and drop white space at the end.
fn same(theirs: &str, ours: &str) -> bool {
    theirs.lines().map(str::trim_end).eq(ours.trim_end().lines().map(str::trim_end))
}
