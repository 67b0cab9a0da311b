//! News of a local repository's refs.

use std::path::{Path, PathBuf};

use git2::Repository;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::error::{RepoError, clean};
use super::store::prepare;

/// What a watch has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefEvent {
    /// A ref may have changed: fetch.
    Changed,
    /// The watch may miss changes from now on: poll.
    Lost(String),
}

/// A running watch; ends when dropped.
pub struct RefWatch {
    _watcher: RecommendedWatcher,
}

/// Calls `on_event` when a ref of the local repository at `path` may have changed: branches, tags, packed
/// refs, a reftable; in a bare repository, a clone, or a linked work tree.
///
/// The calls come from a thread of the watch and must not block; several for one change are usual, so let
/// them set a flag that is taken once (`tokio::sync::Notify::notify_one`, a channel for one). Nothing waits
/// for more to come: the first call comes at once.
///
/// # Errors
/// `Watch` when the system can't (inotify's limits): poll instead.
pub fn watch_local(path: &Path, on_event: impl Fn(RefEvent) + Send + 'static) -> Result<RefWatch, RepoError> {
    prepare()?;
    let failed = |reason: String| RepoError::Watch { path: path.to_owned(), reason: clean(&reason) };
    let repo = Repository::open(path).map_err(|error| failed(error.message().to_owned()))?;
    let places = places(&repo);
    let folders: Vec<_> = places.iter().map(|(folder, _)| folder.clone()).collect();
    let handler = move |event: notify::Result<Event>| match event {
        Ok(event) if event.need_rescan() => on_event(RefEvent::Changed),
        Ok(event) if is_news(&event, &folders) => on_event(RefEvent::Changed),
        Ok(_) => {}
        Err(error) => on_event(RefEvent::Lost(clean(&error.to_string()))),
    };
    let mut watcher = notify::recommended_watcher(handler).map_err(|error| failed(error.to_string()))?;
    for (folder, mode) in &places {
        watcher.watch(folder, *mode).map_err(|error| failed(error.to_string()))?;
    }
    Ok(RefWatch { _watcher: watcher })
}

/// Where refs live. A linked work tree has its HEAD in a folder of its own and shares the rest.
fn places(repo: &Repository) -> Vec<(PathBuf, RecursiveMode)> {
    let common = repo.commondir().to_owned();
    let mut places = vec![(common.clone(), RecursiveMode::NonRecursive)];
    if repo.path() != common {
        places.push((repo.path().to_owned(), RecursiveMode::NonRecursive));
    }
    for folder in ["refs", "reftable"] {
        let folder = common.join(folder);
        if folder.is_dir() {
            places.push((folder, RecursiveMode::Recursive));
        }
    }
    places
}

/// Whether an event is about a ref, and about its new value rather than its lock.
fn is_news(event: &Event, folders: &[PathBuf]) -> bool {
    use notify::EventKind::{Any, Create, Modify, Remove};
    if !matches!(event.kind, Any | Create(_) | Modify(_) | Remove(_)) {
        return false;
    }
    event.paths.iter().any(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if Path::new(name).extension().is_some_and(|extension| extension == "lock") {
            return false;
        }
        // Git's folder itself also holds the index, logs and messages, which change all the time.
        let in_git_folder = folders.iter().take(2).any(|folder| {
            path.parent() == Some(folder.as_path())
                && !folder.ends_with("refs")
                && !folder.ends_with("reftable")
        });
        !in_git_folder || ["HEAD", "packed-refs", "refs", "reftable"].contains(&name)
    })
}
