//! Waiting with a deadline: polls, because what is waited for has no other way to tell us.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Error, Result};

const INTERVAL: Duration = Duration::from_millis(50);

/// Polls until there is an answer. An error ends the wait at once: only `None` is "not yet".
pub async fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut poll: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = poll().await? {
            return Ok(answer);
        }
        if started.elapsed() > deadline {
            return Err(Error::new(format!("{what}: not after {} s", deadline.as_secs())));
        }
        sleep(INTERVAL).await;
    }
}

/// Polls until a condition holds; an error counts as "not yet" and is named when time is up. For
/// servers that are expected to be away for a while.
pub async fn eventually(
    what: &str,
    deadline: Duration,
    mut poll: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = poll().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if started.elapsed() > deadline {
            let last = answer.err().map(|error| format!("; last error: {error}")).unwrap_or_default();
            return Err(Error::new(format!("{what}: not after {} s{last}", deadline.as_secs())));
        }
        sleep(INTERVAL).await;
    }
}
