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

/// The next whole second, or the deadline itself where it is one.
fn put_off(deadline: Instant) -> Instant {
    match deadline.saturating_duration_since(*ORIGIN).subsec_nanos() {
        0 => deadline,
        over => deadline + (GRAIN - Duration::from_nanos(over.into())),
    }
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

    #[test]
    fn what_is_due_in_the_same_second_is_done_at_once() {
        let second = |seconds: u64, millis: u64| *ORIGIN + Duration::from_millis(1_000 * seconds + millis);
        for (due, done) in [((10, 0), 10), ((10, 1), 11), ((10, 500), 11), ((10, 999), 11), ((11, 0), 11)] {
            assert_eq!(put_off(second(due.0, due.1)), second(done, 0), "{due:?}");
        }
    }

    #[tokio::test]
    async fn ticks_are_on_whole_seconds() {
        // The first is at least so far away, and every later one as far from it.
        let mut ticks = interval(Duration::from_millis(1));
        let first: Instant = ticks.tick().await.into();
        assert_eq!(put_off(first), first);
        assert_eq!(interval(Duration::from_secs(10)).period(), Duration::from_secs(10));
    }
}
