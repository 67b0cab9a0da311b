//! Mirror, fetch, trees, history.
//!
//! In: the settings of a source repository, or a folder on disk. Out: commits, trees, tags, facts about
//! ancestry, news of a local repository's refs, and new commits for going back by command.
//! Guarantees: what was not read in full is an error, never "not there"; a ref of the mirror names only what
//! was fetched and checked in full; every object's hash is checked when it is read; links are never followed
//! and nothing is written to a work tree; no credential stands in an error or a URL.
//! Assumes: one process owns the mirror's folder (a lock sees to it). Blocking: call it on a blocking thread.
//! IO: Git.
#![allow(clippy::disallowed_methods, reason = "fetches have deadlines, so this room reads the clock")]

mod access;
mod advertisement;
mod copy;
mod error;
mod folder;
mod git_tree;
mod head;
mod history;
mod https;
mod index;
mod known_hosts;
mod left_out;
mod links;
mod loose;
mod maintain;
mod mirror;
mod options;
mod refs;
mod remote;
mod settings;
mod source;
mod ssh;
mod ssh_channel;
mod ssh_key;
mod store;
mod tags;
mod transport;
mod url;
mod verify;
mod watch;
mod work_tree;
mod write;

pub use error::{RepoError, guarded};
pub use git_tree::{GitTree, MAX_FILE};
pub use head::HeadChange;
pub use history::{CommitInfo, History};
pub use mirror::{Fetched, Mirror};
pub use refs::{RefChange, RefKind};
pub use settings::{Access, Credentials, FetchLimits, MirrorSettings};
pub use tags::{Tag, TagMoved, is_version_tag, moved_tags, newest_tag, tag_on, vanished_tags};
pub use url::RepositoryUrl;
pub use watch::{RefEvent, RefWatch, watch_local};
pub use work_tree::WorkTree;
pub use write::{Author, Change, commit_changes, commit_files, commit_restoring, create_branch, push};

#[cfg(test)]
mod tests;
