//! The state machine of a run, without a cluster.
