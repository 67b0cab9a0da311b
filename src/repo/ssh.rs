//! What a connection over ssh goes by: a private key without a passphrase, and the pinned keys of the host.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::RepoError;
use super::known_hosts::pinned_lines;
use super::options::Home;

/// As long as it lives, libgit2 asks hosts for keys of the pinned types, and reads no other file of known hosts.
pub(super) struct Pins {
    home: Option<Home>,
    folder: PathBuf,
}

impl Pins {
    /// `beside` is a Git folder that this process may write to.
    pub(super) fn set(beside: &Path, known_hosts: &str, host: &str, port: u16) -> Result<Self, RepoError> {
        let folder = beside.join(format!("fairlead-ssh-{}-{}", std::process::id(), next_number()));
        let failed = |error: std::io::Error| RepoError::io(format!("write {}", folder.display()), &error);
        fs::create_dir_all(folder.join(".ssh")).map_err(failed)?;
        fs::write(folder.join(".ssh/known_hosts"), pinned_lines(known_hosts, host, port)).map_err(failed)?;
        let mut pins = Self { home: None, folder };
        let home = Home::set(&pins.folder);
        pins.home =
            Some(home.map_err(|reason| RepoError::Failed { doing: "prepare libgit2".into(), reason })?);
        Ok(pins)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.home.take();
        // A folder that stays holds nothing secret, and is in nobody's way.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A number that no other connection of this process has.
fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Why a file is no private key that can be used; none for one that can.
pub(super) fn key_problem(text: &str) -> Option<&'static str> {
    const PASSPHRASE: &str = "has a passphrase: it can't be used without a person; make a key without one ('ssh-keygen -p -f \
         FILE' takes it away), and let nobody else read the file";
    let text = text.trim_start();
    if text.starts_with("PuTTY-User-Key-File") {
        return Some("is a key of PuTTY's own form; 'puttygen FILE -O private-openssh' writes OpenSSH's");
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        return Some("is a public key; name the private one, which has no .pub at its end");
    }
    if !text.contains("PRIVATE KEY-----") {
        return Some("holds no private key in PEM (-----BEGIN ... PRIVATE KEY-----)");
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Some(PASSPHRASE);
    }
    (text.contains("BEGIN OPENSSH PRIVATE KEY") && cipher(text).is_some_and(|cipher| cipher != b"none"))
        .then_some(PASSPHRASE)
}

/// The cipher that a key in OpenSSH's form is encrypted with (PROTOCOL.key).
fn cipher(text: &str) -> Option<Vec<u8>> {
    let body: String =
        text.lines().skip(1).take_while(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = STANDARD.decode(body).ok()?;
    let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    Some(rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?.to_vec())
}
