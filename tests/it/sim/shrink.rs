//! From a sequence that shows a difference to the shortest that still does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::run::Finding;
use super::step::Step;

/// How often a shorter sequence is tried, and for how long.
const TRIES: usize = 250;
const PATIENCE: Duration = Duration::from_secs(30);

/// Drops steps, then members of bodies, as long as `differs` still finds something.
pub async fn shrink(
    steps: Vec<Step>,
    finding: Finding,
    differs: impl AsyncFn(&[Step]) -> Option<Finding>,
) -> (Vec<Step>, Finding) {
    let mut shrinker = Shrinker { steps, finding, tries: 0, end: Instant::now() + PATIENCE };
    shrinker.cut();
    shrinker.steps(&differs).await;
    shrinker.bodies(&differs).await;
    (shrinker.steps, shrinker.finding)
}

struct Shrinker {
    steps: Vec<Step>,
    finding: Finding,
    tries: usize,
    end: Instant,
}

impl Shrinker {
    /// What comes after the difference does not matter.
    fn cut(&mut self) {
        self.steps.truncate(self.finding.at + 1);
    }

    fn is_tired(&self) -> bool {
        self.tries >= TRIES || Instant::now() > self.end
    }

    async fn take(&mut self, steps: Vec<Step>, differs: &impl AsyncFn(&[Step]) -> Option<Finding>) -> bool {
        if self.is_tired() {
            return false;
        }
        self.tries += 1;
        let Some(finding) = differs(&steps).await else { return false };
        (self.steps, self.finding) = (steps, finding);
        self.cut();
        true
    }

    /// Drops runs of steps, long ones first, until none can be dropped.
    async fn steps(&mut self, differs: &impl AsyncFn(&[Step]) -> Option<Finding>) {
        let mut length = (self.steps.len() / 2).max(1);
        loop {
            let mut dropped = false;
            let mut from = self.steps.len().saturating_sub(length);
            loop {
                let to = (from + length).min(self.steps.len());
                let fewer = [&self.steps[..from], &self.steps[to..]].concat();
                if !fewer.is_empty() && self.take(fewer, differs).await {
                    dropped = true;
                    from = from.min(self.steps.len());
                }
                if from == 0 {
                    break;
                }
                from = from.saturating_sub(length);
            }
            if length > 1 {
                length /= 2;
            } else if !dropped || self.is_tired() {
                return;
            }
        }
    }

    /// Drops members and elements of bodies.
    async fn bodies(&mut self, differs: &impl AsyncFn(&[Step]) -> Option<Finding>) {
        for at in (0..self.steps.len()).rev() {
            let mut tried = std::collections::BTreeSet::new();
            while let Some(Step::Send(send)) = self.steps.get(at) {
                let mut pointers = Vec::new();
                collect(&send.body, String::new(), &mut pointers);
                let Some(next) = pointers.into_iter().find(|pointer| !tried.contains(pointer)) else { break };
                tried.insert(next.clone());
                let mut steps = self.steps.clone();
                if let Some(Step::Send(send)) = steps.get_mut(at) {
                    remove(&mut send.body, &next);
                }
                self.take(steps, differs).await;
            }
        }
    }
}

/// The places of a body's members, outer ones first.
fn collect(value: &Value, at: String, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let at = format!("{at}/{key}");
        found.push(at.clone());
        collect(child, at, found);
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            if let Some(n) = key.parse::<usize>().ok().filter(|n| *n < items.len()) {
                items.remove(n);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::side::Answer;
    use super::super::step::Send;
    use super::*;

    #[tokio::test]
    async fn what_has_no_part_in_a_difference_is_dropped() {
        let post = |n: u8| Step::Send(Send::post(format!("/{n}"), json!({"a": {"b": n, "c": [n]}, "d": 1})));
        let steps: Vec<Step> = (0..20).map(post).collect();
        let is = |step: &Step, n: u8| matches!(step, Step::Send(send) if send.body["a"]["b"] == n);
        let differs = async |steps: &[Step]| {
            let at = steps.iter().position(|step| is(step, 12))?;
            steps[..at].iter().find(|step| is(step, 3))?;
            let none = Answer { code: 0, body: Value::Null };
            Some(Finding {
                at,
                step: steps[at].clone(),
                answers: (none.clone(), none),
                differences: Vec::new(),
            })
        };
        let finding = differs(&steps).await.unwrap();
        let (steps, finding) = shrink(steps, finding, differs).await;
        let body = |n: u8| Step::Send(Send::post(format!("/{n}"), json!({"a": {"b": n}})));
        assert_eq!((steps, finding.at), (vec![body(3), body(12)], 1));
    }
}
