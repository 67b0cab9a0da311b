//! Where log lines go.

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Sends log lines to standard error for the rest of the process. `filter` is as in `RUST_LOG`.
pub fn init(format: Format, filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // A line that can't be written (a full disk) would be complained of on standard error too, which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second call keeps the first subscriber: that is what an embedding program wants.
    let _already_set = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Sends log lines to a file for the rest of the process, where a terminal is for something else.
pub fn init_file(file: File) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(Arc::new(file));
    let _already_set = lines.try_init();
}
