//! The process-wide options of libgit2 that Fairlead sets, behind safe functions.
//!
//! These options are globals of a C library, and there is no safe way to a time-out or a transport. Everything
//! unsafe in Fairlead is on this page.
#![allow(unsafe_code, reason = "git2 has no safe way to what the whole process shares of libgit2")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use git2::{Error, opts};

/// What is set once for the whole process.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a connection to a server may take to come about.
    pub connect_timeout: Duration,
    /// How long a server may stay silent.
    pub silence_timeout: Duration,
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
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: each call stores one integer in a global of libgit2. `OnceLock` lets only one thread in, and
    // Fairlead calls `configure` before it opens its first repository, so no thread of libgit2 reads them yet.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(millis(options.connect_timeout))?;
        opts::set_server_timeout_in_milliseconds(millis(options.silence_timeout))?;
        opts::set_cache_max_size(isize::try_from(options.object_cache).unwrap_or(isize::MAX))?;
    }
    // SAFETY: as above, nothing makes a transport yet.
    unsafe {
        git2::transport::register("https", super::https::transport)?;
        git2::transport::register("http", super::https::transport)?;
    }
    Ok(())
}

/// Whose home libgit2 looks into for `.ssh/known_hosts`, by which it chooses the type of host key that it asks for: that
/// of the daemon's user says nothing about the pinned keys. It is one for the whole process, so connections that want
/// the same one share it, and others wait.
static HOME: Mutex<(Option<PathBuf>, usize)> = Mutex::new((None, 0));
static HOME_FREE: Condvar = Condvar::new();

/// As long as it lives, libgit2's home is one folder.
pub(super) struct Home;

impl Home {
    /// # Errors
    /// The message of libgit2.
    pub(super) fn set(folder: &Path) -> Result<Self, String> {
        let path = CString::new(folder.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        while home.1 > 0 && home.0.as_deref() != Some(folder) {
            home = HOME_FREE.wait(home).unwrap_or_else(PoisonError::into_inner);
        }
        // SAFETY: the option takes a string that ends with a NUL, which libgit2 copies. Only connections over ssh read
        // it, and none is at work with another one: `HOME` counts them.
        let code =
            unsafe { libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR as _, path.as_ptr()) };
        if code < 0 {
            return Err(Error::last_error(code).message().to_owned());
        }
        *home = (Some(folder.to_owned()), home.1 + 1);
        Ok(Self)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
        home.1 = home.1.saturating_sub(1);
        HOME_FREE.notify_all();
    }
}
