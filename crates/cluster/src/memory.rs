//! How much of what API servers send may be in memory at a time: for one cluster, and for all together.
//!
//! A small answer is free. Whoever reads a larger one reserves the most that it may become, of its cluster's share
//! first and then of the common one, so that a cluster that sends much waits for itself, and nobody who waits for
//! the common share holds another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Answers of up to this many bytes need no reservation.
pub const FREE: usize = 64 << 10;
/// Shares are counted in these.
const UNIT: usize = 64 << 10;
/// Bytes of one cluster's answers in memory, and of all clusters'.
pub const OF_ONE: usize = 32 << 20;
pub const OF_ALL: usize = 512 << 20;

/// The common share; clones share it.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OF_ALL / UNIT)))
    }
}

impl Memory {
    /// A cluster's share of it.
    pub fn share(&self) -> Share {
        Share { own: Arc::new(Semaphore::new(OF_ONE / UNIT)), all: self.clone() }
    }
}

/// One cluster's share; clones share it.
#[derive(Debug, Clone)]
pub struct Share {
    own: Arc<Semaphore>,
    all: Memory,
}

/// Memory that is reserved until this is dropped.
#[derive(Debug)]
pub struct Reserved {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Share {
    /// Waits for so many bytes; never more than a cluster's whole share. None: there is no share any more.
    pub async fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let units = u32::try_from(bytes.min(OF_ONE).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let own = Arc::clone(&self.own).acquire_many_owned(units).await.ok()?;
        let all = Arc::clone(&self.all.0).acquire_many_owned(units).await.ok()?;
        Some(Reserved { _own: own, _all: all })
    }
}

/// How many objects a fleet may hold of a cluster, in units of about a KiB each; clones share it. What is held is
/// counted where it is held; here is what lists are still bringing.
#[derive(Debug)]
pub struct Room {
    most: AtomicUsize,
    taken: AtomicUsize,
}

impl Room {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(most), taken: AtomicUsize::new(0) })
    }

    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub fn begin(self: &Arc<Self>) -> Taken {
        Taken { room: Arc::clone(self), units: 0 }
    }
}

/// What one list takes of a room; given back when this is dropped.
#[derive(Debug)]
pub struct Taken {
    room: Arc<Room>,
    units: usize,
}

impl Taken {
    /// Takes so many units more. False: there is no room for them.
    pub fn take(&mut self, units: usize) -> bool {
        let before = self.room.taken.fetch_add(units, Ordering::Relaxed);
        self.units += units;
        before.saturating_add(units) <= self.room.most()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.units, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_cluster_waits_for_its_own_share_and_holds_no_more_than_that() {
        let memory = Memory::default();
        let (greedy, honest) = (memory.share(), memory.share());
        let held = greedy.reserve(usize::MAX).await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(20), greedy.reserve(1)).await;
        assert!(waits.is_err(), "its share is used up");
        honest.reserve(OF_ONE).await.unwrap();
        drop(held);
        greedy.reserve(1).await.unwrap();
    }

    #[test]
    fn lists_share_a_room_and_give_it_back() {
        let room = Room::new(10);
        let (mut one, mut two) = (room.begin(), room.begin());
        assert!(one.take(6) && two.take(4));
        assert!(!two.take(1));
        drop(two);
        assert!(one.take(4) && !one.take(1));
        drop(one);
        assert!(room.begin().take(10));
    }
}
