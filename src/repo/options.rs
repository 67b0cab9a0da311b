//! The process-wide options of libgit2 that Fairlead sets, behind safe functions.
//!
//! These options are globals of a C library, and there is no safe way to a transport. Everything
//! unsafe in Fairlead is on this page.
#![allow(unsafe_code, reason = "git2 has no safe way to what the whole process shares of libgit2")]

use std::sync::OnceLock;

use git2::{Error, opts};

/// What is set once for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes that all open repositories together may keep as parsed objects.
    pub object_cache: usize,
}

/// Sets the options and the strict checks. The first call decides; later ones return what it returned.
///
/// # Errors
/// The message of libgit2.
pub fn configure(options: Options) -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| set(options).map_err(|error| error.message().to_owned())).clone()
}

fn set(options: Options) -> Result<(), Error> {
    // Every object read is hashed again, and nothing is written that refers to what is not there.
    opts::strict_hash_verification(true);
    opts::strict_object_creation(true);
    // SAFETY: the call stores one integer in a global of libgit2. `OnceLock` lets only one thread in, and
    // Fairlead calls `configure` before it opens its first repository, so no thread of libgit2 reads them yet.
    unsafe {
        opts::set_cache_max_size(isize::try_from(options.object_cache).unwrap_or(isize::MAX))?;
    }
    // SAFETY: as above, nothing makes a transport yet.
    unsafe {
        for scheme in ["https", "http", "ssh"] {
            git2::transport::register(scheme, super::transport::transport)?;
        }
    }
    Ok(())
}
