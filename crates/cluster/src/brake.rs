//! The emergency stop, where every write passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How often it is looked whether the last writes have ended.
const LOOK: Duration = Duration::from_millis(5);

/// Stops all writes of all workers that share it, between two requests; reading goes on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Brake {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pulled: watch::Sender<bool>,
    on_their_way: AtomicUsize,
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Way(Arc<Shared>);

impl Brake {
    /// From now on no write begins.
    pub fn pull(&self) {
        self.shared.pulled.send_replace(true);
    }

    pub fn release(&self) {
        self.shared.pulled.send_replace(false);
    }

    pub fn is_pulled(&self) -> bool {
        *self.shared.pulled.borrow()
    }

    /// Waits until the writes that were on their way have been answered; how many have not been after `limit`.
    pub async fn drained(&self, limit: Duration) -> usize {
        let until = Instant::now() + limit;
        loop {
            match self.shared.on_their_way.load(Ordering::SeqCst) {
                0 => return 0,
                left if Instant::now() >= until => return left,
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Hears of every pull and release.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.shared.pulled.subscribe()
    }

    /// Leave for one write; none while pulled.
    pub(super) fn write(&self) -> Option<Way> {
        // Counted first: whoever pulls now either is seen here, or sees this write.
        self.shared.on_their_way.fetch_add(1, Ordering::SeqCst);
        let way = Way(Arc::clone(&self.shared));
        (!self.is_pulled()).then_some(way)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.on_their_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pulled_brake_lets_nothing_begin_and_waits_for_what_is_on_its_way() {
        let brake = Brake::default();
        let way = brake.write().unwrap();
        brake.pull();
        assert!(brake.clone().write().is_none());
        assert_eq!(brake.drained(Duration::from_millis(20)).await, 1);
        drop(way);
        assert_eq!(brake.drained(Duration::from_secs(1)).await, 0);
        brake.release();
        assert!(brake.write().is_some());
    }
}
