//! Commands and printing.
#![allow(clippy::disallowed_methods, reason = "the edge of the program: reads the clock and the environment")]

use std::process::ExitCode;

pub mod client;
pub mod table;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
