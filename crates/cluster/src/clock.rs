//! The API server's clock, which decides whether an object was there before an intent.

use std::sync::Mutex;

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};

/// Estimates the server's clock from the `Date` headers of its answers. A header is cut to whole seconds and
/// reaches us late, so each is a lower bound of the difference between the clocks: the largest is the best.
/// The estimate is never ahead of the server: what we create after it never looks as if it had been there.
#[derive(Debug, Default)]
pub struct ServerClock {
    ahead: Mutex<Option<SignedDuration>>,
}

impl ServerClock {
    pub fn heard(&self, headers: &HeaderMap) {
        let Some(date) = headers.get(header::DATE).and_then(|d| d.to_str().ok()).and_then(parse_date) else {
            return;
        };
        let ahead = date.duration_since(Timestamp::now());
        let mut best = self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A server whose clock was set back by more than answers vary starts the estimate anew.
        let reset = best.is_some_and(|b| b - ahead > SignedDuration::from_secs(30));
        *best = Some(if reset { ahead } else { best.map_or(ahead, |b| b.max(ahead)) });
    }

    pub fn now(&self) -> Timestamp {
        let ahead = self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner).unwrap_or_default();
        let now = Timestamp::now();
        now.checked_add(ahead).unwrap_or(now)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_date(text: &str) -> Option<Timestamp> {
    let broken = jiff::fmt::rfc2822::DateTimeParser::new();
    broken.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        let expected: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(expected));
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn the_best_bound_wins() {
        let clock = ServerClock::default();
        for seconds in [3_598, 3_600, 3_599] {
            let date = Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            clock.heard(&HeaderMap::from_iter([(header::DATE, date.parse().unwrap())]));
        }
        let ahead = clock.now().duration_since(Timestamp::now()).as_secs_f64();
        assert!((3_598.9..=3_600.1).contains(&ahead), "{ahead}");
    }
}
