//! Simulated clusters that speak the Kubernetes API.
//!
//! In: HTTP requests as an API server takes them, and a clock. Out: answers as an API server gives them, field by
//! field: server-side apply with its managers, watches, discovery, CRDs, namespaces that end, workloads that become
//! ready. Guarantees: nothing outside the process is touched, no time passes but that of the clock it is given, and
//! two runs of the same requests at the same times give the same answers; a cluster that nobody asks has no task.
//! What it does otherwise than a real server is listed where the two are compared, in `tests/it/sim`.

mod answer;
mod ask;
mod body;
mod clock;
mod cluster;
mod codec;
mod control;
mod crd;
mod defaults;
mod delete;
mod discover;
pub mod faults;
mod fields;
mod kind;
mod managed;
mod object;
mod openapi;
mod patch;
mod quantity;
mod read;
mod refuse;
mod review;
mod rules;
mod scale;
mod schema;
mod selector;
pub mod serve;
mod store;
mod strategic;
mod table;
#[cfg(test)]
mod tests;
mod typed;
mod watch;
mod write;

pub use body::Body;
pub use clock::Clock;
pub use cluster::{Cluster, Fleet, SimSettings};
pub use control::FAIL;
