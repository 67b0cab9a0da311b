//! Errors as people see them: a kind, which is the exit code, and a hint.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::daemon::chain;

/// What went wrong in a command.
#[derive(Debug)]
pub struct CliError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user asked for something that can't be: exit code 2, as for a wrong argument.
    Usage,
    /// Something outside (a file, Git, the daemon, a cluster) did not work: exit code 3.
    Outside,
}

impl CliError {
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Usage, source: source.into(), hint: None }
    }

    pub fn outside(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Outside, source: source.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Outside => ExitCode::from(3),
        }
    }
}

/// `error: A: B: C`, then the hint on a line of its own. No error repeats its source.
impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", chain(self.source.as_ref()))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
