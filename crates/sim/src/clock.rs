//! The time of a fleet of simulated clusters, and what is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::cluster::Inner;
use super::object::Key;

/// Where the time comes from. It never reads the process's own clock.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    /// Stands still until it is moved.
    Manual(AtomicI64),
    Given(Box<dyn Fn() -> Timestamp + Send + Sync>),
}

impl Clock {
    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(AtomicI64::new(start.as_millisecond()))))
    }

    pub fn given(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(Source::Given(Box::new(now))))
    }

    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::Manual(at) => Timestamp::from_millisecond(at.load(Ordering::SeqCst)).unwrap_or_default(),
            Source::Given(now) => now(),
        }
    }

    pub(super) fn millis(&self) -> i64 {
        self.now().as_millisecond()
    }

    fn set(&self, millis: i64) {
        if let Source::Manual(at) = &*self.0 {
            at.fetch_max(millis, Ordering::SeqCst);
        }
    }
}

/// What happens at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A controller looks at an object.
    Controller { resource: Arc<str>, key: Key },
    /// A watch has something to say, or its time is over.
    Watch(u64),
    /// Old events are forgotten.
    Compact,
}

struct Timer {
    at: i64,
    number: u64,
    cluster: Weak<Inner>,
    due: Due,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// One queue for all clusters of a fleet.
pub(super) struct Timers {
    pub clock: Clock,
    queue: Mutex<BinaryHeap<Reverse<Timer>>>,
    number: AtomicU64,
    /// Something is due earlier than what was waited for.
    sooner: Notify,
}

impl Timers {
    pub fn new(clock: Clock) -> Self {
        Self { clock, queue: Mutex::default(), number: AtomicU64::new(0), sooner: Notify::new() }
    }

    pub fn add(&self, after: Duration, cluster: Weak<Inner>, due: Due) {
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let at = self.clock.millis().saturating_add(after);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sooner = queue.peek().is_none_or(|Reverse(first)| at < first.at);
        queue.push(Reverse(Timer { at, number, cluster, due }));
        drop(queue);
        if sooner {
            self.sooner.notify_one();
        }
    }

    fn take(&self, until: i64) -> Option<Timer> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.peek().is_some_and(|Reverse(first)| first.at <= until) {
            queue.pop().map(|Reverse(timer)| timer)
        } else {
            None
        }
    }

    /// Runs all that is due until a time, in order.
    pub fn run_until(&self, until: i64) {
        while let Some(timer) = self.take(until) {
            self.clock.set(timer.at);
            if let Some(cluster) = timer.cluster.upgrade() {
                cluster.fire(timer.due);
            }
        }
        self.clock.set(until);
    }

    /// What is due stays due in as long a time although the clock was set back. What was added since then comes too soon,
    /// which is no harm: whoever is called looks again.
    fn set_back(&self, by: i64) {
        if by <= 0 {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let timers = std::mem::take(&mut *queue).into_iter();
        *queue = timers
            .map(|Reverse(timer)| Reverse(Timer { at: timer.at.saturating_sub(by), ..timer }))
            .collect();
    }

    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.run_until(self.clock.millis().saturating_add(by));
    }

    /// Runs what is due as the clock goes on, for ever.
    pub async fn drive(&self) {
        let mut last = self.clock.millis();
        loop {
            let now = self.clock.millis();
            self.set_back(last.saturating_sub(now));
            last = now;
            self.run_until(now);
            let next = {
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.peek().map(|Reverse(first)| first.at)
            };
            let wait = async {
                match next.map(|at| SignedDuration::from_millis(at - self.clock.millis())) {
                    // A clock that jumps is looked at again soon.
                    Some(wait) => {
                        let wait = Duration::try_from(wait).unwrap_or_default();
                        tokio::time::sleep(wait.clamp(Duration::from_millis(1), Duration::from_secs(1)))
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}
