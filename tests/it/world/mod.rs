//! A world with verbs for end-to-end tests: a fleet repository that people push to, and the real daemon.

pub mod daemon;
pub mod hostile;
pub mod repository;

use std::time::{Duration, Instant};

/// Looks until `check` gives something, and tells what it saw last when the time is up.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match check().await {
            Ok(found) => return found,
            Err(last) if start.elapsed() > limit => panic!("{what}: not within {limit:?}; last: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
