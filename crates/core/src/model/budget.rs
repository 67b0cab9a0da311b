//! What reading one commit may cost.
//!
//! Each limit elsewhere counts one file, one layer, one value; a commit can hold many of them. This one counts over all
//! files, layers and targets of a reading: whoever reads [`enter`]s a budget on his thread, and what costs [`spend`]s
//! of it. It belongs to the thread and is no argument because what costs is deep inside of pure functions, some of them
//! called by the YAML parser and by CEL; a reading is made on one thread. Outside of a reading nothing is counted.
//!
//! What would exceed it becomes a finding at its place, so that it fails the document, profile or target that asks for
//! it, and what asks for less goes on. No profile can use up what all others need: it has a [`share`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Code of findings about what exceeds a budget. They say nothing about the content by itself.
pub const OVER_BUDGET: &str = "over-budget";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Entries of folders in which documents are looked for; each of the three folders has a share of its own.
    Entries,
    /// Entries of layers' folders.
    LayerEntries,
    /// Bytes of files.
    Bytes,
    /// Documents of Fairlead's own kinds.
    Documents,
    /// Findings about them; of each that is wrong one is kept all the same.
    Findings,
    /// Bytes of memory of values, beyond what their text alone takes.
    Aliases,
    /// Bytes of memory of values of documents.
    Values,
    /// The same of manifests, which are not kept.
    LayerValues,
    /// Objects rendered anew.
    Objects,
    /// Bytes rendered anew.
    Rendered,
    /// Steps of expressions.
    Steps,
    /// Values held against schemas.
    Checks,
    /// Releases: one for each fleet and target.
    Releases,
}

const COSTS: usize = 13;

type Counters = [AtomicU64; COSTS];

impl Cost {
    /// Its limit, and what it counts in words.
    pub const fn limit(self) -> (u64, &'static str) {
        match self {
            Cost::Entries => (400_000, "entries of folders"),
            Cost::LayerEntries => (1_000_000, "entries of layers' folders"),
            Cost::Bytes => (2 << 30, "bytes of files"),
            Cost::Documents => (300_000, "documents"),
            Cost::Findings => (50_000, "findings about documents"),
            Cost::Aliases => (64 << 20, "bytes of values by aliases"),
            Cost::Values => (1 << 30, "bytes of values"),
            Cost::LayerValues => (16 << 30, "bytes of values in manifests"),
            Cost::Objects => (5_000_000, "objects"),
            Cost::Rendered => (1 << 30, "bytes of rendered objects"),
            Cost::Steps => (1_000_000_000, "steps of expressions"),
            Cost::Checks => (200_000_000, "checks of values against schemas"),
            Cost::Releases => (120_000, "uses of profiles by targets"),
        }
    }
}

/// What is left for a reading. May be stopped from another thread.
#[derive(Debug)]
pub struct Budget {
    spent: Counters,
    shares: Mutex<BTreeMap<String, Arc<Counters>>>,
    stopped: AtomicBool,
}

/// Something would cost more than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    #[error("the commit needs more than {} {}", .0.limit().0, .0.limit().1)]
    Limit(Cost),
    #[error("one profile alone needs more than {} {}, half of what a commit may need", .0.limit().0 / 2, .0.limit().1)]
    Share(Cost),
    #[error("the reading was stopped")]
    Stopped,
}

impl Default for Budget {
    fn default() -> Self {
        Self { spent: counters(), shares: Mutex::default(), stopped: AtomicBool::new(false) }
    }
}

fn counters() -> Counters {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// Whether so much could be taken; if not, nothing is.
fn take(from: &Counters, cost: Cost, n: u64, limit: u64) -> bool {
    let Some(spent) = from.get(cost as usize) else { return true };
    let take = |before: u64| before.checked_add(n).filter(|after| *after <= limit);
    spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
}

impl Budget {
    /// Takes `n` of what is left.
    ///
    /// # Errors
    /// There is not so much, or the reading was stopped; then nothing is taken, so that less may still be had.
    pub fn spend(&self, cost: Cost, n: u64) -> Result<(), Exceeded> {
        if self.is_stopped() {
            return Err(Exceeded::Stopped);
        }
        if take(&self.spent, cost, n, cost.limit().0) { Ok(()) } else { Err(Exceeded::Limit(cost)) }
    }

    fn share(&self, name: &str) -> Arc<Counters> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(name) {
            return share.clone();
        }
        let share = Arc::new(counters());
        shares.insert(name.to_owned(), share.clone());
        share
    }

    /// What was taken so far.
    pub fn spent(&self, cost: Cost) -> u64 {
        self.spent.get(cost as usize).map_or(0, |spent| spent.load(Ordering::Relaxed))
    }

    /// Lets the reading end soon: whatever it would spend is refused from now on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// What a thread reads for.
#[derive(Debug, Clone, Default)]
struct Current {
    budget: Option<Arc<Budget>>,
    share: Option<Arc<Counters>>,
}

thread_local! {
    static CURRENT: RefCell<Current> = RefCell::default();
}

/// Until it is dropped, what this thread reads is counted.
#[must_use = "it counts until it is dropped"]
pub struct Scope {
    before: Current,
}

fn replace(now: Current) -> Scope {
    Scope { before: CURRENT.with(|current| current.replace(now)) }
}

fn current() -> Current {
    CURRENT.with(|current| current.borrow().clone())
}

/// Counts what this thread reads from now on.
pub fn enter(budget: Arc<Budget>) -> Scope {
    replace(Current { budget: Some(budget), share: None })
}

/// The same, if nothing is counted yet.
pub fn enter_if_none() -> Scope {
    let current = current();
    if current.budget.is_some() { replace(current) } else { enter(Arc::default()) }
}

/// What this thread reads from now on is for one of many: it gets no more than a half of each cost, in all its scopes
/// together.
pub fn share(name: &str) -> Scope {
    let budget = current().budget;
    let share = budget.as_ref().map(|budget| budget.share(name));
    replace(Current { budget, share })
}

impl Drop for Scope {
    fn drop(&mut self) {
        let before = std::mem::take(&mut self.before);
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}

/// Takes `n` of what is left to the reading on this thread.
///
/// # Errors
/// See [`Budget::spend`].
pub fn spend(cost: Cost, n: usize) -> Result<(), Exceeded> {
    let n = n as u64;
    CURRENT.with(|current| {
        let current = current.borrow();
        let Some(budget) = &current.budget else { return Ok(()) };
        match &current.share {
            Some(share) if !take(share, cost, n, cost.limit().0 / 2) => Err(Exceeded::Share(cost)),
            _ => budget.spend(cost, n),
        }
    })
}

/// What the reading on this thread took so far.
pub fn spent(cost: Cost) -> u64 {
    CURRENT.with(|current| current.borrow().budget.as_ref().map_or(0, |budget| budget.spent(cost)))
}

/// Whether the reading on this thread was stopped.
pub fn is_stopped() -> bool {
    CURRENT.with(|current| current.borrow().budget.as_ref().is_some_and(|budget| budget.is_stopped()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_is_refused_and_less_is_not() {
        let budget = Arc::new(Budget::default());
        let limit = Cost::Releases.limit().0;
        assert_eq!(budget.spend(Cost::Releases, limit - 1), Ok(()));
        assert_eq!(budget.spend(Cost::Releases, 2), Err(Exceeded::Limit(Cost::Releases)));
        assert_eq!(budget.spend(Cost::Releases, 1), Ok(()));
        assert_eq!(budget.spend(Cost::Releases, 1), Err(Exceeded::Limit(Cost::Releases)));
        assert_eq!(budget.spend(Cost::Steps, 1), Ok(()), "each has its own limit");
        budget.stop();
        assert_eq!(budget.spend(Cost::Steps, 1), Err(Exceeded::Stopped));
        assert_eq!(Exceeded::Limit(Cost::Objects).to_string(), "the commit needs more than 5000000 objects");
    }

    #[test]
    fn a_scope_is_of_its_thread_and_ends() {
        assert_eq!(spend(Cost::Releases, usize::MAX), Ok(()), "nothing is counted");
        let budget = Arc::new(Budget::default());
        {
            let _scope = enter(budget.clone());
            assert!(spend(Cost::Releases, usize::MAX).is_err());
            let _inner = enter_if_none();
            budget.stop();
            assert!(is_stopped(), "the inner scope is the same reading");
            std::thread::spawn(|| assert!(!is_stopped())).join().unwrap();
        }
        assert!(!is_stopped());
    }

    #[test]
    fn one_profile_leaves_something_to_the_others() {
        let budget = Arc::new(Budget::default());
        let _counted = enter(budget.clone());
        let half = usize::try_from(Cost::Steps.limit().0 / 2).unwrap();
        {
            let _share = share("greedy");
            assert_eq!(spend(Cost::Steps, half), Ok(()));
            assert_eq!(spend(Cost::Steps, 1), Err(Exceeded::Share(Cost::Steps)));
        }
        {
            let _share = share("greedy");
            assert_eq!(spend(Cost::Steps, 1), Err(Exceeded::Share(Cost::Steps)), "it is the same one");
        }
        let _share = share("modest");
        assert_eq!(spend(Cost::Steps, 1), Ok(()));
        assert_eq!(spend(Cost::Steps, half), Err(Exceeded::Share(Cost::Steps)));
        assert_eq!(spend(Cost::Steps, half - 1), Ok(()));
        assert_eq!(budget.spend(Cost::Steps, 1), Err(Exceeded::Limit(Cost::Steps)));
    }
}
