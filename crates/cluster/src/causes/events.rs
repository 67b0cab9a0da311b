//! Which event says why. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Older ones tell of something else: a controller that still fails repeats its event within about 16 minutes (the
/// longest backoff of kube-controller-manager's queues).
const MAX_AGE: SignedDuration = SignedDuration::from_mins(30);
/// Reasons of ordinary events that say what a claim waits for.
const TELLING: [&str; 3] = ["FailedBinding", "ExternalProvisioning", "WaitForPodScheduled"];
/// Reasons that only say that something is tried again.
const VAGUE: [&str; 2] = ["BackOff", "FailedSync"];

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    reason: &'a str,
    message: &'a str,
    of: &'a str,
}

impl Told<'_> {
    pub fn text(&self) -> String {
        match (self.reason, self.message) {
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }

    /// With the name of the claim that it is about.
    pub fn with_name(&self) -> String {
        format!("claim {}: {}", self.of, self.text())
    }
}

/// The newest event that says what is wrong; one that only says that something is tried again comes last.
pub fn newest(events: &[Value], now: Timestamp) -> Option<Told<'_>> {
    let text = |event: &'_ Value, field: &str| event.get(field).and_then(Value::as_str).map(str::to_owned);
    let counts = |event: &&Value| {
        let warns = event["type"] == "Warning";
        warns || text(event, "reason").is_some_and(|reason| TELLING.contains(&reason.as_str()))
    };
    let fresh = |(_, at): &(&Value, Timestamp)| now.duration_since(*at) <= MAX_AGE;
    let rank = |(event, at): &(&Value, Timestamp)| {
        let vague = text(event, "reason").is_none_or(|reason| VAGUE.contains(&reason.as_str()))
            // What the kubelet says of each try besides the error itself: `Error: ImagePullBackOff`.
            || text(event, "message").is_some_and(|message| message.starts_with("Error: "));
        (!vague, *at)
    };
    let dated = events.iter().filter(counts).filter_map(|event| Some((event, time(event)?)));
    let (event, _) = dated.filter(fresh).max_by_key(rank)?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Some(Told { reason: text("/reason"), message: text("/message"), of: text("/involvedObject/name") })
}

/// When it happened last. Events of `events.k8s.io` leave the old fields empty.
fn time(event: &Value) -> Option<Timestamp> {
    let places = [
        "/lastTimestamp",
        "/series/lastObservedTime",
        "/eventTime",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ];
    let times = places.iter().filter_map(|place| event.pointer(place)?.as_str()?.parse().ok());
    times.max()
}
