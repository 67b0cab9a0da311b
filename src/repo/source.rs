//! What a repository on this machine is: its forms that Fairlead, or libgit2, does not read, named in words.

use std::collections::HashSet;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Oid, Repository};

use super::error::{RepoError, clean};
use super::folder::{is_folder, raw_entries};
use super::{links, loose};

/// Opens the repository whose Git folder, work tree or bare folder is `path`; `shown` is what people call it.
pub(super) fn open(path: &Path, shown: &str) -> Result<Repository, RepoError> {
    Repository::open(path).map_err(|error| refusal(path, shown, &error))
}

/// Opens the repository that `path` is in. `GIT_DIR` and `GIT_WORK_TREE` are not asked: the path says which one is meant.
pub(super) fn discover(path: &Path) -> Result<Repository, RepoError> {
    Repository::discover(path).map_err(|error| refusal(path, &path.display().to_string(), &error))
}

/// Why libgit2 does not open a repository, in words.
pub(super) fn refusal(path: &Path, shown: &str, error: &git2::Error) -> RepoError {
    let said = error.message();
    let lacks = |reason: &str| RepoError::Form { place: clean(shown), reason: reason.to_owned() };
    match error.code() {
        ErrorCode::NotFound => RepoError::NoRepository { place: clean(shown) },
        _ if says(said, &["objectformat", "object format", "sha256"]) => lacks(
            "it hashes its objects with SHA-256; only repositories with SHA-1 are read (libgit2's limit)",
        ),
        _ if says(said, &["refstorage", "reftable"]) => lacks(
            "it keeps its refs in a reftable, which is not read; 'git refs migrate --ref-format=files' (Git 2.46 or newer) \
             brings them into files, and so does a new clone",
        ),
        _ if said.contains("extension") => {
            lacks(&format!("it needs an extension of Git that is not known here ({})", clean(said)))
        }
        _ => RepoError::disk(format!("open {}", path.display()), error),
    }
}

fn says(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// Whether objects that are not there are to be had from the repository that this one was cloned from: `git clone
/// --filter`.
pub(super) fn is_partial(repo: &Repository) -> bool {
    let Ok(config) = repo.config().and_then(|mut config| config.snapshot()) else { return false };
    if config.get_string("extensions.partialclone").is_ok() {
        return true;
    }
    let mut found = false;
    if let Ok(entries) = config.entries(Some("^remote\\..*\\.(promisor|partialclonefilter)$")) {
        // An entry that can't be read says nothing.
        let _ = entries.for_each(|_| found = true);
    }
    found
}

/// What is not in a clone that is not whole, and what completes it; none for one that is whole.
pub(super) fn completes(repo: &Repository) -> Option<&'static str> {
    if repo.is_shallow() {
        return Some("this is a shallow clone: 'git fetch --unshallow' brings its whole history");
    }
    is_partial(repo).then_some(
        "this is a partial clone (git clone --filter): 'git fetch --refetch --no-filter' brings what is not in it",
    )
}

/// Where an object stands below a commit, for messages; its hash where it can't be found.
pub(super) fn name_of(repo: &Repository, tip: Oid, wanted: Oid) -> String {
    find_path(repo, tip, wanted).unwrap_or_else(|| format!("object {wanted}"))
}

/// Looks at most at so many folders: it is for a message.
const MAX_LOOKS: usize = 100_000;

fn find_path(repo: &Repository, tip: Oid, wanted: Oid) -> Option<String> {
    let odb = repo.odb().ok()?;
    let (mut met, mut todo) = (HashSet::new(), vec![(tip, String::new())]);
    while let Some((id, path)) = todo.pop() {
        if id == wanted {
            return Some(if path.is_empty() { format!("object {wanted}") } else { clean(&path) });
        }
        if !met.insert(id)
            || met.len() > MAX_LOOKS
            || loose::header(&odb, id).ok()?.0 > super::copy::MAX_OBJECT
        {
            continue;
        }
        let object = odb.read(id).ok()?;
        match object.kind() {
            ObjectType::Tree => {
                for entry in raw_entries(object.data()).map_while(Result::ok) {
                    let id = Oid::from_bytes(entry.id.as_bytes()).ok()?;
                    let path = format!("{path}/{}", String::from_utf8_lossy(entry.name));
                    let path = path.trim_start_matches('/').to_owned();
                    if id == wanted {
                        return Some(clean(&path));
                    }
                    if is_folder(entry.mode) {
                        todo.push((id, path));
                    }
                }
            }
            kind => {
                todo.extend(links::of_object(kind, object.data()).into_iter().map(|id| (id, String::new())))
            }
        }
    }
    None
}
