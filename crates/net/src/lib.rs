//! How a connection to another machine is made: one rule for proxies, one way of trusting certificates, one connector,
//! and words for what went wrong. Clusters, repositories over http(s) and forges all connect through it.
//!
//! In: an address, what is trusted, and what a kubeconfig or the environment says of proxies. Out: a stream that HTTP can
//! be spoken on, or a [`ConnectFailure`] that names what to look at.
//!
//! Guarantees: an `http://` address is connected to only by a connector that was made for that; a stage of a connection
//! (TCP, proxy, TLS) that does not end in time fails; no secret of a proxy's address stands in an error; no error shows a
//! library's own words. Assumes that the environment does not change while the process runs. IO: sockets, the environment,
//! files of certificates.
#![allow(clippy::disallowed_methods, reason = "an IO room: reads the environment's proxies")]

mod again;
mod connector;
mod failure;
mod no_proxy;
mod pem;
mod proxy;
mod socks;
#[cfg(test)]
mod tests;
mod trust;
mod tunnel;

pub use again::Again;
pub use connector::{Connector, Protocols, Stream, dial};
pub use failure::{ConnectFailure, Failed, connect_failure_of, explain, explain_known, io_words};
pub use pem::{Identity, decode_base64};
pub use proxy::{Proxies, Proxy, Route};
pub use trust::{Trust, TrustError};
