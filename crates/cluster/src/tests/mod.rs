//! Tests of the room through its parts.

mod errors;
mod fuzz;
mod ledger;
mod limits;
