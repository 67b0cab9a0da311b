//! Runs one sequence on two clusters.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use super::compare::{Difference, Pairs};
use super::known::Known;
use super::side::{Answer, Side};
use super::step::{Send, Step};

/// How long a watch must be silent before its events are taken as all.
const SILENCE: Duration = Duration::from_millis(60);
/// How long one watch may be silent while the other has said more.
const LATE: Duration = Duration::from_secs(3);
/// How long an awaited state may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where two clusters first differ in a sequence, and how.
#[derive(Debug)]
pub struct Finding {
    /// The step's place in the sequence.
    pub at: usize,
    pub step: Step,
    pub answers: (Answer, Answer),
    pub differences: Vec<Difference>,
}

impl Finding {
    /// The same for findings of the same sort.
    pub fn signature(&self) -> String {
        let words: Vec<String> = self.step.title().split(['/', '?']).map(str::to_owned).collect();
        let plural = words.iter().rev().nth(1).cloned().unwrap_or_default();
        let first = self.differences.first().map(|d| d.path.clone()).unwrap_or_default();
        format!("{} {plural} {first}", words[0])
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {}: {}", self.at + 1, self.step)?;
        for Difference { path, a, b } in self.differences.iter().take(20) {
            writeln!(f, "  at {path}\n    A: {a}\n    B: {b}")?;
        }
        let (a, b) = &self.answers;
        write!(f, "  A answered {} {}\n  B answered {} {}", a.code, a.body, b.code, b.body)
    }
}

/// Runs steps on both sides up to the first difference that is not listed.
pub async fn run(steps: &[Step], a: Side, b: Side, listed: &[Known]) -> Option<Finding> {
    let mut pair = Pair { a, b, pairs: Pairs::default() };
    for (at, step) in steps.iter().enumerate() {
        let Some((a, b)) = pair.step(step).await else { continue };
        let mut differences = pair.pairs.compare(&a, &b);
        let title = step.title();
        differences.retain(|difference| !listed.iter().any(|known| known.covers(&title, a.code, difference)));
        if !differences.is_empty() {
            return Some(Finding { at, step: step.clone(), answers: (a, b), differences });
        }
    }
    None
}

struct Pair {
    a: Side,
    b: Side,
    pairs: Pairs,
}

impl Pair {
    /// Both answers to a step.
    async fn step(&mut self, step: &Step) -> Option<(Answer, Answer)> {
        match step {
            Step::Send(send) => {
                let (a, b) = futures::join!(self.a.send(send), self.b.send(send));
                Some(if send.path == "/api" || send.path == "/apis" { discovery(a, b) } else { (a, b) })
            }
            Step::Watch { id, path, accept } => {
                Some(futures::join!(self.a.watch(id, path, accept), self.b.watch(id, path, accept)))
            }
            Step::Collect { id } => {
                let (a, b) = self.collect(id).await;
                let answer = |events: Vec<Value>| Answer { code: 200, body: json!({"events": events}) };
                Some((answer(a), answer(b)))
            }
            Step::Await { path, until } => {
                let get = Send::get(path.clone());
                let (a, b) =
                    futures::join!(settle(&mut self.a, &get, until), settle(&mut self.b, &get, until));
                Some((a, b))
            }
        }
    }

    /// The events of a watch on both sides, when both have been silent for a while.
    async fn collect(&mut self, id: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        loop {
            let patience = |ours: usize, theirs: usize| if ours < theirs { LATE } else { SILENCE };
            let waits = (patience(a.len(), b.len()), patience(b.len(), a.len()));
            let (x, y) = futures::join!(self.a.event(id, waits.0), self.b.event(id, waits.1));
            if x.is_none() && y.is_none() {
                return (a, b);
            }
            // Bookmarks come when they come.
            let told = |event: &Value| event["type"] != "BOOKMARK";
            a.extend(x.filter(told));
            b.extend(y.filter(told));
        }
    }
}

/// Asks until the answer is as awaited, or time is up; then gives the last one.
async fn settle(side: &mut Side, get: &Send, until: &std::collections::BTreeMap<String, Value>) -> Answer {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = side.send(get).await;
        let there = |pointer: &str| match pointer {
            "code" => json!(answer.code),
            pointer => answer.body.pointer(pointer).cloned().unwrap_or_default(),
        };
        let settled = until.iter().all(|(pointer, wanted)| there(pointer) == *wanted);
        if settled || tokio::time::Instant::now() > end {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Answers of discovery, reduced to what can be compared: what both serve, of built-in groups and of the
/// sequence's own. A real cluster serves more than a simulated one; other sequences bring groups of their own.
fn discovery(a: Answer, b: Answer) -> (Answer, Answer) {
    let (x, y) = (resources(&a.body), resources(&b.body));
    let ours = |name: &String| !name.contains(".example.com") || name.contains(super::step::NS);
    let only_ours = |name: &String| name.contains(super::step::NS);
    let keep = |all: &std::collections::BTreeMap<String, Value>, extra: bool| -> Value {
        let kept = all.iter().filter(|(name, _)| {
            ours(name) && (extra || only_ours(name) || (x.contains_key(*name) && y.contains_key(*name)))
        });
        kept.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    // What the second serves and the first does not is a difference; the other way round it is not.
    let bodies = (keep(&x, false), keep(&y, true));
    (Answer { code: a.code, body: bodies.0 }, Answer { code: b.code, body: bodies.1 })
}

/// `group/version/resource` to what aggregated discovery says of it.
fn resources(body: &Value) -> std::collections::BTreeMap<String, Value> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut found = std::collections::BTreeMap::new();
    for group in list(body, "items") {
        for version in list(&group, "versions") {
            for resource in list(&version, "resources") {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let name = [
                    word(&group["metadata"]["name"]),
                    word(&version["version"]),
                    word(&resource["resource"]),
                ];
                found.insert(name.join("/"), resource);
            }
        }
    }
    found
}

/// Steps as the lines of a file.
pub fn lines(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |mut text, step| {
        let _ = writeln!(text, "{step}");
        text
    })
}
