//! What can go wrong with a repository.

use std::path::PathBuf;

use git2::{ErrorClass, ErrorCode};

use fairlead_core::model::digest::CommitId;

use super::url::RepositoryUrl;

/// Longest text from outside that an error carries, in characters.
const MAX_REASON: usize = 300;

/// Why something of a repository can't be had. None of these ever means "empty" or "deleted".
///
/// [`RepoError::label`] names the variant for metrics. Text from a server is cleaned and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepoError {
    #[error("the repository URL {url} is not allowed: {reason}")]
    UrlNotAllowed { url: String, reason: String },
    #[error("cannot use {}: {reason}", .path.display())]
    CredentialFile { path: PathBuf, reason: String },
    #[error("there are no credentials for {url}: {reason}")]
    CredentialsMissing { url: RepositoryUrl, reason: String },
    /// `refused`: the kind of credential and where it comes from, never its value.
    #[error("{url} refused {refused}")]
    AuthenticationFailed { url: RepositoryUrl, refused: String },
    #[error("the host key of {host} is not the pinned one: {reason}")]
    HostKeyMismatch { host: String, reason: String },
    #[error("the TLS certificate of {url} is not trusted: {reason}")]
    CertificateRejected { url: RepositoryUrl, reason: String },
    #[error(
        "{url} redirects elsewhere, which is not followed ({reason}); name the new address in the settings"
    )]
    RedirectRefused { url: RepositoryUrl, reason: String },
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: RepositoryUrl, reason: String },
    #[error("{url} did not answer in time: {reason}")]
    Timeout { url: RepositoryUrl, reason: String },
    #[error("there is no repository at {url}, or {reason}")]
    RepositoryNotFound { url: RepositoryUrl, reason: String },
    #[error("there is no Git repository at {place}")]
    NoRepository { place: String },
    #[error("the repository {place} can't be read: {reason}")]
    Form { place: String, reason: String },
    #[error("{url} has no commits")]
    EmptyRepository { url: RepositoryUrl },
    #[error("there is no branch '{branch}'")]
    NoSuchBranch { branch: String },
    #[error("'{name}' is not a branch name")]
    InvalidBranch { name: String },
    #[error("commit {commit} is not in the repository")]
    UnknownCommit { commit: CommitId },
    #[error("'{spec}' names no commit: {reason}")]
    UnknownRevision { spec: String, reason: String },
    #[error("{path}: {reason}")]
    Refused { path: String, reason: String },
    #[error("the repository is damaged: {what}")]
    Corrupt { what: String },
    #[error("{url} sends damaged objects: {what}")]
    SourceCorrupt { url: RepositoryUrl, what: String },
    #[error("{url} is a shallow clone; Fairlead needs its whole history ('git fetch --unshallow')")]
    Shallow { url: RepositoryUrl },
    #[error(
        "{url} is a partial clone: {what} is not in it. Follow the repository that it was cloned from, or complete it with \
         'git fetch --refetch --no-filter'"
    )]
    Partial { url: RepositoryUrl, what: String },
    #[error("{what} is not in this clone; {completes}")]
    Incomplete { what: String, completes: String },
    #[error(
        "{url} hashes its objects with {format}; Fairlead reads repositories with SHA-1 only (libgit2's limit)"
    )]
    ObjectFormat { url: RepositoryUrl, format: String },
    #[error("{what} is too large: {size} bytes, at most {limit}")]
    TooLarge { what: String, size: u64, limit: u64 },
    #[error("the disk is full: {reason}")]
    DiskFull { reason: String },
    #[error("{} is used by another process", .path.display())]
    Busy { path: PathBuf },
    #[error("{reason}; run Fairlead as its owner, or name the folder in Git's safe.directory")]
    NotOwned { reason: String },
    #[error("nothing would change: the folders are at that content already")]
    NothingToChange,
    #[error("there is a branch '{branch}' already")]
    BranchExists { branch: String },
    #[error("{url} refused the push of '{branch}': {reason}")]
    PushRejected { url: RepositoryUrl, branch: String, reason: String },
    #[error("cannot watch {}: {reason}", .path.display())]
    Watch { path: PathBuf, reason: String },
    #[error("cannot {doing}: {reason}")]
    Failed { doing: String, reason: String },
    #[error("cannot {doing}, because of a fault in Fairlead itself, which is worth a report: {reason}")]
    Fault { doing: String, reason: String },
}

impl RepoError {
    /// The variant's name for metrics, in kebab case; stable.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UrlNotAllowed { .. } => "url-not-allowed",
            Self::CredentialFile { .. } => "credential-file",
            Self::CredentialsMissing { .. } => "credentials-missing",
            Self::AuthenticationFailed { .. } => "authentication-failed",
            Self::HostKeyMismatch { .. } => "host-key-mismatch",
            Self::CertificateRejected { .. } => "certificate-rejected",
            Self::RedirectRefused { .. } => "redirect-refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::RepositoryNotFound { .. } => "repository-not-found",
            Self::NoRepository { .. } => "no-repository",
            Self::Form { .. } => "repository-form",
            Self::EmptyRepository { .. } => "empty-repository",
            Self::NoSuchBranch { .. } => "no-such-branch",
            Self::InvalidBranch { .. } => "invalid-branch",
            Self::UnknownCommit { .. } => "unknown-commit",
            Self::UnknownRevision { .. } => "unknown-revision",
            Self::Refused { .. } => "refused",
            Self::Corrupt { .. } => "corrupt",
            Self::SourceCorrupt { .. } => "source-corrupt",
            Self::Shallow { .. } => "shallow",
            Self::Partial { .. } => "partial",
            Self::Incomplete { .. } => "incomplete",
            Self::ObjectFormat { .. } => "object-format",
            Self::TooLarge { .. } => "too-large",
            Self::DiskFull { .. } => "disk-full",
            Self::Busy { .. } => "busy",
            Self::NotOwned { .. } => "not-owned",
            Self::NothingToChange => "nothing-to-change",
            Self::BranchExists { .. } => "branch-exists",
            Self::PushRejected { .. } => "push-rejected",
            Self::Watch { .. } => "watch",
            Self::Failed { .. } => "failed",
            Self::Fault { .. } => "fault",
        }
    }

    /// From libgit2, about the disk.
    pub(super) fn disk(doing: impl Into<String>, error: &git2::Error) -> Self {
        let reason = clean(error.message());
        if is_disk_full(error.message()) {
            return Self::DiskFull { reason };
        }
        match (error.code(), error.class()) {
            (ErrorCode::Owner, _) => Self::NotOwned { reason },
            (ErrorCode::HashsumMismatch, _) | (_, ErrorClass::Zlib) => Self::Corrupt { what: reason },
            _ => Self::Failed { doing: doing.into(), reason },
        }
    }

    /// From libgit2, about an object that something we have read names: it can only be damaged.
    pub(super) fn damaged(what: &str, error: &git2::Error) -> Self {
        match (error.code(), error.class()) {
            (ErrorCode::NotFound | ErrorCode::HashsumMismatch, _)
            | (_, ErrorClass::Zlib | ErrorClass::Odb | ErrorClass::Object | ErrorClass::Indexer) => {
                Self::Corrupt { what: format!("{what}: {}", clean(error.message())) }
            }
            _ => Self::disk(format!("read {what}"), error),
        }
    }

    pub(super) fn io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        let reason = clean(&error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull { reason },
            _ => Self::Failed { doing: doing.into(), reason },
        }
    }
}

/// Does a piece of work; a panic in it fails that work and nothing else.
///
/// # Errors
/// [`RepoError::Fault`], for a panic.
pub fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T, RepoError>) -> Result<T, RepoError> {
    // What is shared with the work is only replaced as a whole, so it is as it was before.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let reason = clean(&text.unwrap_or_else(|| "it panicked".to_owned()));
        Err(RepoError::Fault { doing: doing.to_owned(), reason })
    })
}

/// libgit2 has no code for it; it appends the system's own words, which are those of the C locale.
pub(super) fn is_disk_full(message: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "File too large"]
        .iter()
        .any(|text| message.contains(text))
}

/// Text from outside, on one line, without control characters, cut.
pub(super) fn clean(text: &str) -> String {
    clean_to(text, MAX_REASON)
}

pub(super) fn clean_to(text: &str, max: usize) -> String {
    // Bidirectional overrides would let a commit's author reorder what a terminal shows around it.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut words = text.split(|c: char| hidden(c) || c == ' ').filter(|word| !word.is_empty());
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    if out.chars().count() > max {
        out = out.chars().take(max).chain(['…']).collect();
    }
    out
}
