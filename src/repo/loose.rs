//! Objects in files of their own that were cut off.
//!
//! libgit2 1.9 inflates such a file for ever: at its end there is no progress, and no error either. So a file is
//! inflated by other means before libgit2 may read it.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};

use flate2::read::ZlibDecoder;
use git2::{Oid, Repository};

use super::copy::MAX_OBJECT;
use super::error::RepoError;

/// Whether an object may be read: it is in no file of its own, or that file is whole.
///
/// # Errors
/// [`RepoError::Corrupt`] names the object.
pub(super) fn is_whole(repo: &Repository, id: Oid) -> Result<(), RepoError> {
    let hex = id.to_string();
    let (folder, name) = hex.split_at(2);
    let path = repo.commondir().join("objects").join(folder).join(name);
    let file = match File::open(&path) {
        Ok(file) => file,
        // In a pack, or nowhere.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RepoError::io(format!("open object {id}"), &error)),
    };
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
