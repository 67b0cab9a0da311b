//! Which requests are sent again, because the server can't have processed them or may do so twice.

use std::error::Error;
use std::time::Duration;

use super::failure::chain;

/// How often a request is sent again because its connection ended before an answer came.
const TRIES: u32 = 3;
/// After which pause, doubled each time: a server that ends every connection must not be asked in a hot loop.
const PAUSE: Duration = Duration::from_millis(20);

/// How a request fares that is sent until there is a connection that answers it. What the server has not processed is
/// sent again, and what may be processed twice also when that is not known; up to three times. A new connection is used
/// where the old one has ended.
#[derive(Debug, Default)]
pub struct Again {
    repeatable: bool,
    tries: u32,
}

impl Again {
    /// `repeatable`: the request may be processed twice.
    pub fn new(repeatable: bool) -> Self {
        Self { repeatable, tries: 0 }
    }

    /// After which pause to send it again. None: not at all; where there was no connection to begin with, another try
    /// would meet the same.
    pub fn after(&mut self, error: &(dyn Error + 'static)) -> Option<Duration> {
        let again = was_not_processed(error) || (self.repeatable && !was_not_connected(error));
        let pause = PAUSE * 2_u32.pow(self.tries);
        if !again || self.tries >= TRIES {
            return None;
        }
        self.tries += 1;
        Some(pause)
    }
}

/// Whether a request can't have been processed: it was never sent, or the server said that it had not looked at it.
/// Source: RFC 9113, 6.8 (GOAWAY) and 8.7 (REFUSED_STREAM).
fn was_not_processed(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (error.is_go_away() || refused);
        }
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    })
}

fn was_not_connected(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| {
        error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect())
    })
}
