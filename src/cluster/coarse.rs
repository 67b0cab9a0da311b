//! Times that need no precision.
//!
//! A thousand clusters have a thousand pings and looks at credentials under way. Spread evenly they would wake an idle
//! daemon hundreds of times a second, and waking is most of what such a small thing costs. So they are put off to the
//! next whole second of the program, when all that are due are done together.

use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::time::{Interval, MissedTickBehavior};

/// By how much a time is put off at most.
const GRAIN: Duration = Duration::from_secs(1);

/// Some moment that all times are counted from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(|| tokio::time::Instant::now().into());

/// The next whole grain, or the deadline itself where it is one.
fn put_off(deadline: Instant) -> Instant {
    let since = deadline.saturating_duration_since(*ORIGIN);
    let over = since.as_nanos() % GRAIN.as_nanos();
    if over == 0 {
        return deadline;
    }
    // Less than a second: it has room in 64 bits.
    let over = Duration::from_nanos(u64::try_from(over).unwrap_or_default());
    deadline + (GRAIN - over)
}

/// Ticks for the first time after `every`; ticks that are missed are left out.
pub(super) fn interval(every: Duration) -> Interval {
    let first = put_off((tokio::time::Instant::now() + every).into());
    let mut interval = tokio::time::interval_at(first.into(), every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// The timer of connections.
#[derive(Clone)]
pub(super) struct CoarseTimer;

impl Timer for CoarseTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(put_off(deadline))
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        TokioTimer::new().reset(sleep, put_off(new_deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_due_in_the_same_second_is_done_at_once() {
        let start: Instant = tokio::time::Instant::now().into();
        let mut ends = Vec::new();
        for millis in [10_100, 10_500, 10_900] {
            let until = put_off(start + Duration::from_millis(millis));
            let late = until - (start + Duration::from_millis(millis));
            assert!(late < GRAIN, "{late:?}");
            ends.push(until);
        }
        ends.dedup();
        assert!(ends.len() <= 2, "at most one whole second lies between them: {ends:?}");
        assert_eq!(put_off(ends[0]), ends[0]);

        CoarseTimer.sleep(Duration::from_millis(1)).await;
        let mut ticks = interval(Duration::from_secs(10));
        let before = tokio::time::Instant::now();
        let ticked: Vec<u64> =
            [ticks.tick().await, ticks.tick().await].map(|at| (at - before).as_secs()).into();
        assert_eq!(ticked, [10, 20], "from one whole second to another");
    }
}
