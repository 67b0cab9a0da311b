//! Tests of the room through its parts.

mod errors;
mod ledger;
