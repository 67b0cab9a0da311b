//! One error for all of the harness: a text for the person whose test failed.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A text, from the outermost thing that was tried to its innermost cause.
///
/// It is not a `std::error::Error`, so that it can be made from any of those by `?`.
pub struct Error(String);

impl Error {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let reason = cause.to_string();
            // Not every library leaves its source to us.
            if !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As [`fmt::Display`]: a test that returns an error prints it with `Debug`, and a log's tail
/// should keep its lines.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error(format!("{doing}: {}", error.into())))
    }
}
