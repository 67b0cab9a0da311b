//! Real Kubernetes control planes for tests, without containers.
//!
//! In: the name of a control plane and what it should have. Out: a [`ControlPlane`]: etcd, an API
//! server, and unless told otherwise the controllers, the scheduler and a fake node, on which
//! Deployments become available and, when told so, fail.
//!
//! Guarantees:
//! - Nothing outlives the test process, however it ends: every server ends with its standard
//!   input, and the other end of that pipe is ours.
//! - Every wait has a deadline, and says what it waited for, with the tail of the right log.
//! - A missing program is built (and that is said on standard error), or the test fails. Nothing
//!   is skipped.
//!
//! Assumes Linux, and Go where the programs have not been built yet (see `tests/harness/tool`).
#![allow(dead_code, unused_imports, reason = "each binary that includes the harness uses a part of it")]

mod audit;
mod components;
mod control_plane;
mod error;
mod gate;
mod kubeconfig;
mod node;
mod port;
mod process;
mod shared;
mod tools;
mod wait;
mod wire;

pub use audit::{Audit, Event, Events, Mark};
pub use control_plane::{ControlPlane, Options};
pub use error::{Context, Error, Result};
pub use gate::{Act, Gate, Passage};
pub use kubeconfig::{User, client as kubeconfig_client};
pub use node::{FAIL_ANNOTATION, Failure};
pub use port::Port;
pub use process::Process;
pub use shared::shared;
pub use tools::{Program, tool};
pub use wait::{eventually, wait_for};
pub use wire::Wire;
