//! Where a single pull request is asked for: the page that statuses and comments lead to.

use std::sync::Arc;

use super::apart::{Answer, Failed, TIME};
use super::check::{Checked, Checker};
use crate::forge::{Client, ForgeError};
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
        let checked = self.checker.check(self.client.pull_ref(&pull), None, TIME, false).await;
        let Checked { head, found, .. } = checked.map_err(|failed| match failed {
            Failed::Elsewhere(why) | Failed::TooLong(why) | Failed::Broke(why) => Refusal::Unavailable(why),
        })?;
        let Answer { findings, plan, no_plan, text, .. } = found;
        Ok(PullView { number, commit: head, findings, plan, no_plan, text })
    }
}
