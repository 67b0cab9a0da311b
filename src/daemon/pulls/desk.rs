//! Where a single pull request is asked for: the page that statuses and comments lead to.

use std::sync::Arc;

use super::check::{Checked, Checker};
use crate::forge::{Client, ForgeError};
use crate::plan::offline::print::plain;
use crate::server::{PullView, Refusal};

/// Looks at a pull request anew when it is asked for.
#[derive(Clone)]
pub struct Desk {
    client: Client,
    checker: Arc<Checker>,
}

impl Desk {
    pub(super) fn new(client: Client, checker: Arc<Checker>) -> Self {
        Self { client, checker }
    }

    pub async fn pull(&self, number: u64) -> Result<PullView, Refusal> {
        // Only what the forge knows is fetched.
        let pull = self.client.pull(number).await.map_err(|error| match error {
            ForgeError::Refused { status: 404, .. } => {
                Refusal::NotFound(format!("there is no pull request {number}"))
            }
            other => Refusal::Unavailable(other.to_string()),
        })?;
        let checked = self.checker.check(self.client.pull_ref(&pull)).await;
        view(number, checked.map_err(Refusal::Unavailable)?)
    }
}

fn view(number: u64, checked: Checked) -> Result<PullView, Refusal> {
    let Checked { head, findings, plan, .. } = checked;
    let (plan, text, no_plan) = match plan {
        Ok(plan) => {
            let json = serde_json::to_value(&plan).map_err(|error| Refusal::Internal(error.to_string()))?;
            (Some(json), plain(&plan), None)
        }
        Err(reason) => (None, String::new(), Some(reason)),
    };
    Ok(PullView { number, commit: head, findings, plan, no_plan, text })
}
