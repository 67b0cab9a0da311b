//! Which deliveries were taken already. Forgotten with the process: a replay then costs one fetch that finds nothing.

use std::collections::{HashSet, VecDeque};

use http::HeaderMap;

use super::signature::single;

/// So many are remembered.
const KEPT: usize = 4_096;

/// The delivery's number, as a digest: it may be as long as a header. `names`: the headers that number deliveries.
pub(super) fn number(names: &[&str], headers: &HeaderMap) -> Option<[u8; 32]> {
    let number = names.iter().find_map(|name| single(headers, name)).filter(|number| !number.is_empty())?;
    Some(*blake3::hash(number.as_bytes()).as_bytes())
}

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    seen: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Deliveries {
    /// Whether it was not taken before; remembers it.
    pub(super) fn is_new(&mut self, id: [u8; 32]) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}
