//! Which deliveries were taken already. Forgotten with the process: a replay then costs one fetch that finds nothing.

use std::collections::{HashSet, VecDeque};

use http::HeaderMap;

use super::signature::single;

/// So many are remembered.
const KEPT: usize = 4_096;

/// The header in which each forge numbers its deliveries; the same again when one is sent again.
const HEADERS: [&str; 6] = [
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "webhook-id",
    "x-gitlab-event-uuid",
    "x-fairlead-delivery",
];

/// The delivery's number, as a digest: it may be as long as a header.
pub(super) fn id(headers: &HeaderMap) -> Option<[u8; 32]> {
    let id = HEADERS.iter().find_map(|name| single(headers, name)).filter(|id| !id.is_empty())?;
    Some(*blake3::hash(id.as_bytes()).as_bytes())
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
