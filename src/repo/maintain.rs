//! Keeping the mirror's files few. libgit2 has no garbage collection of its own: each fetch adds a pack, or
//! a file for each object, for as long as the daemon runs.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};

use super::error::RepoError;
use super::folder::{is_submodule, raw_entries};
use super::left_out::LeftOut;
use super::refs::{HEADS, KEEP, TAGS};
use super::store::{Store, oid_of};
use super::{links, loose};

/// Git's own limits for `gc --auto`.
const MAX_PACKS: usize = 50;
const MAX_LOOSE: usize = 6_700;

/// Packs everything that a ref names into one, when there are too many files; sooner when there is time.
/// Says whether it did: handles that are open now look for files that are gone.
pub(super) fn when_due(repo: &Repository, store: &Arc<Store>, idle: bool) -> Result<bool, RepoError> {
    let objects = repo.path().join("objects");
    let factor = if idle { 1 } else { 4 };
    // One of 256 folders stands for all, as in Git.
    let loose = fs::read_dir(objects.join("17")).map_or(0, |list| list.count() * 256);
    let packs = packs(&objects)?.len();
    let due = packs > MAX_PACKS * factor || loose > MAX_LOOSE * factor;
    if due {
        repack(repo, store)?;
    }
    Ok(due)
}

fn packs(objects: &Path) -> Result<Vec<PathBuf>, RepoError> {
    let list = fs::read_dir(objects.join("pack")).map_err(|error| RepoError::io("list the packs", &error))?;
    let paths = list.filter_map(Result::ok).map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect())
}

/// Writes one new pack, then removes what it replaces. Readers in between are asked again.
pub(super) fn repack(repo: &Repository, store: &Arc<Store>) -> Result<(), RepoError> {
    let objects = repo.path().join("objects");
    let failed = |error: git2::Error| RepoError::disk("repack the mirror", &error);
    let damaged = |error: git2::Error| RepoError::damaged("an object", &error);
    let old = packs(&objects)?;
    let mut builder = repo.packbuilder().map_err(failed)?;
    let mut tips = Vec::new();
    for glob in [HEADS, TAGS, KEEP] {
        for reference in repo.references_glob(&format!("{glob}*")).map_err(failed)? {
            tips.extend(reference.map_err(failed)?.target());
        }
    }
    for (id, name) in reachable(repo, tips)? {
        builder.insert_object(id, name.as_deref()).map_err(damaged)?;
    }
    builder.write(&objects.join("pack"), 0o444).map_err(damaged)?;
    let name = builder.name().map_err(failed)?.map(|name| format!("pack-{name}.pack"));
    store.replace(|| {
        let replaced = old.iter().filter(|path| path.file_name().and_then(|n| n.to_str()) != name.as_deref());
        for pack in replaced {
            // The index last to come and first to go: a pack without one is not looked at.
            remove(&pack.with_extension("idx"))?;
            remove(pack)?;
        }
        remove_loose(&objects)
    })
}

/// Everything below these objects that the mirror has, with the names that folders give, by which Git finds what is alike.
/// libgit2's own walk would end at the first file that the mirror does without.
fn reachable(repo: &Repository, tips: Vec<Oid>) -> Result<Vec<(Oid, Option<String>)>, RepoError> {
    let odb = repo.odb().map_err(|error| RepoError::disk("open the objects", &error))?;
    let left_out = LeftOut::read(repo.path())?;
    let (mut met, mut found) = (HashSet::new(), Vec::new());
    let mut todo: Vec<(Oid, Option<String>)> = tips.into_iter().map(|id| (id, None)).collect();
    while let Some((id, name)) = todo.pop() {
        if left_out.has(id) || !met.insert(id) {
            continue;
        }
        loose::is_whole(repo, id)?;
        let damaged = |error: git2::Error| RepoError::damaged(&format!("object {id}"), &error);
        let (_, kind) = loose::header(&odb, id).map_err(damaged)?;
        if kind == ObjectType::Tree {
            let folder = odb.read(id).map_err(damaged)?;
            for entry in raw_entries(folder.data()).map_while(Result::ok) {
                // A name is a hint; bytes that are no text, or hold a NUL, give none.
                let name = std::str::from_utf8(entry.name).ok().map(str::to_owned);
                if !is_submodule(entry.mode) {
                    todo.push((oid_of(entry.id.as_bytes())?, name));
                }
            }
        } else if kind != ObjectType::Blob {
            let object = odb.read(id).map_err(damaged)?;
            todo.extend(links::of_object(kind, object.data()).into_iter().map(|id| (id, None)));
        }
        found.push((id, name));
    }
    Ok(found)
}

fn remove_loose(objects: &Path) -> Result<(), RepoError> {
    for entry in fs::read_dir(objects).map_err(|error| RepoError::io("list the objects", &error))?.flatten() {
        let name = entry.file_name();
        let is_fan_out =
            name.len() == 2 && name.to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_fan_out {
            fs::remove_dir_all(entry.path())
                .map_err(|error| RepoError::io("remove packed objects", &error))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), RepoError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RepoError::io(format!("remove {}", path.display()), &error))
        }
        _ => Ok(()),
    }
}
