//! Objects in files of their own that were cut off.
//!
//! libgit2 1.9 inflates such a file for ever: at its end there is no progress, and no error either. So a file is
//! inflated by other means before libgit2 may read it.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};

use flate2::read::ZlibDecoder;
use git2::{ObjectType, Odb, Oid, Repository};

use super::copy::MAX_OBJECT;
use super::error::RepoError;

/// Size and kind of an object, by its head.
///
/// # Errors
/// Also for a damaged head whose kind is none, at which `git2` panics.
pub(super) fn header(odb: &Odb<'_>, id: Oid) -> Result<(u64, ObjectType), git2::Error> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| odb.read_header(id)));
    let none = || {
        git2::Error::new(
            git2::ErrorCode::HashsumMismatch,
            git2::ErrorClass::Odb,
            "the head of the object is damaged",
        )
    };
    let (size, kind) = read.map_err(|_| none())??;
    Ok((size as u64, kind))
}

/// Kind and size of an object in a file of its own, by the head of the file; none for others.
pub(super) fn head(repo: &Repository, id: Oid) -> Result<Option<(ObjectType, u64)>, RepoError> {
    let Some(file) = file_of(repo, id)? else { return Ok(None) };
    let mut head = Vec::new();
    let mut content = ZlibDecoder::new(BufReader::new(file)).take(MAX_HEAD);
    // What can't be read here can't be read as a whole either, and is named then.
    if content.read_to_end(&mut head).is_err() {
        return Ok(None);
    }
    let head = head.split(|byte| *byte == 0).next().and_then(|head| std::str::from_utf8(head).ok());
    Ok(head.and_then(|head| {
        let (kind, size) = head.split_once(' ')?;
        Some((ObjectType::from_str(kind)?, size.parse().ok()?))
    }))
}

/// Longest head of an object: its kind, a space, its size, and a NUL.
const MAX_HEAD: u64 = 32;

/// Whether an object may be read: it is in no file of its own, or that file is whole.
///
/// # Errors
/// [`RepoError::Corrupt`] names the object.
pub(super) fn is_whole(repo: &Repository, id: Oid) -> Result<(), RepoError> {
    let Some(file) = file_of(repo, id)? else { return Ok(()) };
    // Of a larger one, nothing but the head is read; its size refuses it.
    let mut content = ZlibDecoder::new(BufReader::new(file)).take(MAX_OBJECT);
    match io::copy(&mut content, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput) => {
            Err(RepoError::Corrupt { what: format!("object {id} was cut off or damaged") })
        }
        Err(error) => Err(RepoError::io(format!("read object {id}"), &error)),
    }
}

/// The file that an object has of its own; none for one in a pack, or nowhere.
fn file_of(repo: &Repository, id: Oid) -> Result<Option<File>, RepoError> {
    let hex = id.to_string();
    let (folder, name) = hex.split_at(2);
    let objects = repo.commondir().join("objects");
    // `git clone --shared` and `--reference` leave objects in another repository.
    let mut stores = vec![objects.clone()];
    if let Ok(others) = fs::read_to_string(objects.join("info/alternates")) {
        stores.extend(others.lines().filter(|line| !line.is_empty()).map(|line| objects.join(line)));
    }
    for store in stores {
        match File::open(store.join(folder).join(name)) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(RepoError::io(format!("open object {id}"), &error)),
        }
    }
    Ok(None)
}
