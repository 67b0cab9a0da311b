//! The token file: one line `name:token` for each caller.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fairlead_private::{self as private, Holds};

/// Shortest token: 16 characters of a random one can't be guessed over a network.
const MIN_TOKEN: usize = 16;
/// Longest name of a caller; it goes into the audit.
const MAX_NAME: usize = 64;
/// A file beyond this is not a token file.
const MAX_FILE: u64 = 1 << 20;

/// Why a token file can't be used. Never shows a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot read the token file {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the token file {}, line {line}: {what}; a line is 'name:token', with a token of at least {MIN_TOKEN} characters",
        .path.display())]
    Line { path: PathBuf, line: usize, what: &'static str },
    #[error("the token file {} holds no token; a line is 'name:token'", .path.display())]
    Empty { path: PathBuf },
}

/// A caller's name and the digest of the token; the token itself is not kept.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    digest: blake3::Hash,
}

/// What tells one state of a file from the next: a secret that is mounted anew is another inode.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

#[derive(Debug)]
struct Read {
    stamp: Stamp,
    /// None: the file is not usable now. Nobody is let in with a token then: falling back to the tokens before would
    /// keep one that was just withdrawn.
    entries: Option<Arc<[Entry]>>,
}

/// The tokens, read again when the file changed.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    last: Mutex<Read>,
}

/// The answer to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known(String),
    Unknown,
    /// The token file can't be read now.
    Unusable,
}

impl Tokens {
    pub(super) fn open(path: &Path) -> Result<Self, TokenFileError> {
        let (stamp, text) =
            load(path).map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        let entries = Some(parse(path, &text)?);
        Ok(Self { path: path.to_owned(), last: Mutex::new(Read { stamp, entries }) })
    }

    /// Whose token it is. Takes as long for a token that is nearly right as for one that is all wrong: digests are
    /// compared (blake3 compares in constant time), and all of them.
    pub(super) fn check(&self, token: &str) -> Verdict {
        let Some(entries) = self.entries() else { return Verdict::Unusable };
        let digest = blake3::hash(token.as_bytes());
        let found =
            entries.iter().fold(None, |found, e| if e.digest == digest { Some(&e.name) } else { found });
        found.map_or(Verdict::Unknown, |name| Verdict::Known(name.clone()))
    }

    fn entries(&self) -> Option<Arc<[Entry]>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match std::fs::metadata(&self.path).map(|m| stamp(&m)) {
            Ok(stamp) if stamp == last.stamp => {}
            _ => *last = self.reload(&last),
        }
        last.entries.clone()
    }

    fn reload(&self, last: &Read) -> Read {
        let loaded = load(&self.path)
            .map_err(|source| TokenFileError::Read { path: self.path.clone(), source })
            .map(|(stamp, text)| (stamp, parse(&self.path, &text)));
        match loaded {
            Ok((stamp, Ok(entries))) => {
                tracing::info!(file = %self.path.display(), tokens = entries.len(), "token file read again");
                Read { stamp, entries: Some(entries) }
            }
            Ok((stamp, Err(error))) => {
                tracing::error!(%error, "the token file changed and is not usable: no token is accepted");
                Read { stamp, entries: None }
            }
            Err(error) => {
                if last.entries.is_some() {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "no token is accepted until it can be read");
                }
                Read { stamp: last.stamp, entries: None }
            }
        }
    }
}

fn stamp(m: &Metadata) -> Stamp {
    (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
}

fn load(path: &Path) -> io::Result<(Stamp, String)> {
    use std::io::Read as _;
    let (file, metadata) = private::open(path, Holds::Secret)?;
    let stamp = stamp(&metadata);
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text)?;
    Ok((stamp, text))
}

fn parse(path: &Path, text: &str) -> Result<Arc<[Entry]>, TokenFileError> {
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| TokenFileError::Line { path: path.to_owned(), line: index + 1, what };
        let (name, token) = line.split_once(':').ok_or_else(|| wrong("no ':'"))?;
        let (name, token) = (name.trim(), token.trim());
        let printable = |c: char| !c.is_control() && !c.is_whitespace();
        if name.is_empty() || name.chars().count() > MAX_NAME || !name.chars().all(printable) {
            return Err(wrong("the name is empty, too long, or has spaces in it"));
        }
        if token.len() < MIN_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("the token is too short, or has characters that can't stand in a header"));
        }
        let digest = blake3::hash(token.as_bytes());
        if entries.iter().any(|e| e.digest == digest) {
            return Err(wrong("this token stands above already"));
        }
        entries.push(Entry { name: name.to_owned(), digest });
    }
    if entries.is_empty() { Err(TokenFileError::Empty { path: path.to_owned() }) } else { Ok(entries.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "0123456789abcdef";
    const BOB: &str = "fedcba9876543210";

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("# people\n\nalice: {ALICE}\nalice:{ALICE}x\n")).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(tokens.check(ALICE), Verdict::Known("alice".into()));
        assert_eq!(tokens.check(&format!("{ALICE}x")), Verdict::Known("alice".into()));
        assert_eq!(tokens.check(BOB), Verdict::Unknown);

        std::fs::write(&path, format!("bob:{BOB}\n")).unwrap();
        assert_eq!(
            (tokens.check(ALICE), tokens.check(BOB)),
            (Verdict::Unknown, Verdict::Known("bob".into()))
        );

        std::fs::write(&path, format!("bob:{BOB}\nalice\n")).unwrap();
        assert_eq!(tokens.check(BOB), Verdict::Unusable);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tokens.check(BOB), Verdict::Unusable);
        std::fs::write(&path, format!("bob:{BOB}\n")).unwrap();
        assert_eq!(tokens.check(BOB), Verdict::Known("bob".into()));
    }

    #[test]
    fn bad_lines_are_named_and_no_token_is_shown() {
        let path = Path::new("/etc/tokens");
        for (text, wanted) in [
            ("", "holds no token"),
            ("# only a comment", "holds no token"),
            ("alice", "line 1: no ':'"),
            ("\n:0123456789abcdef", "line 2: the name is empty"),
            ("a b:0123456789abcdef", "line 1: the name is empty, too long, or has spaces"),
            ("alice:short5ecret", "line 1: the token is too short"),
            ("alice:0123456789ab cdef", "line 1: the token is too short, or has characters"),
            ("alice:0123456789abcdef\nbob:0123456789abcdef", "line 2: this token stands above"),
        ] {
            let message = parse(path, text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
            assert!(!message.contains("short5ecret") && !message.contains("0123456789ab"), "{message}");
        }
    }
}
