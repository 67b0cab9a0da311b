//! The rule for proxies as a table; connections through real sockets, with real certificates.

mod certificates;
mod connections;
mod rule;
mod world;
