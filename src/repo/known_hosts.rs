//! Host keys as pinned in a file of OpenSSH's known_hosts format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//! Pure. The first words decide nothing here but: is this key pinned for this host?

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;

use super::error::clean;

/// What the file says of a key that a host showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Pinned,
    /// The host has pinned keys; none is this one. Their types, e.g. `ssh-ed25519`.
    Other(Vec<String>),
    /// The file does not name the host.
    UnknownHost,
    Revoked,
}

/// Judges the key (in SSH's wire form) that `host` showed on `port`.
pub(super) fn judge(file: &str, host: &str, port: u16, key: &[u8]) -> Verdict {
    let wanted = name_of(host, port);
    let (mut pinned, mut others, mut revoked) = (false, Vec::new(), false);
    for line in file.lines().filter_map(Line::parse).filter(|line| line.names(&wanted)) {
        let same = line.key == key;
        match line.marker {
            Some("@revoked") => revoked |= same,
            // Host certificates are not supported: the authority's key is not the host's.
            Some(_) => {}
            None if same => pinned = true,
            None if others.contains(&line.key_type.to_owned()) => {}
            None => others.push(line.key_type.to_owned()),
        }
    }
    match (revoked, pinned) {
        (true, _) => Verdict::Revoked,
        (_, true) => Verdict::Pinned,
        _ if others.is_empty() => Verdict::UnknownHost,
        _ => Verdict::Other(others),
    }
}

/// Why the key that a host showed is not taken, with its fingerprint; none for a pinned one.
pub(super) fn problem(file: &str, host: &str, port: u16, key: &[u8]) -> Option<String> {
    let shown = STANDARD_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, key));
    let shown = format!("it showed {} SHA256:{shown}", key_type(key));
    Some(match judge(file, host, port, key) {
        Verdict::Pinned => return None,
        Verdict::Revoked => format!("{shown}, which knownHostsFile revokes"),
        Verdict::UnknownHost => format!("{shown}, and {}", why_unknown(file, host, port)),
        Verdict::Other(types) => format!(
            "{shown}, and knownHostsFile has another key of {} for it: the server's key was changed, or something else \
             answers in its place",
            types.join(", ")
        ),
    })
}

/// What the file has instead of the host, if it is something that looks like it.
fn why_unknown(file: &str, host: &str, port: u16) -> String {
    let (wanted, bare) = (name_of(host, port), name_of(host, 22));
    let lines = || file.lines().filter_map(Line::parse);
    if lines().any(|line| line.marker == Some("@cert-authority") && line.names(&wanted)) {
        return format!(
            "knownHostsFile names {wanted} by @cert-authority only, which is not supported: pin the host's own key"
        );
    }
    if port != 22 && lines().any(|line| line.marker.is_none() && line.names(&bare)) {
        return format!(
            "knownHostsFile names {bare} for port 22 only: the line for this port begins with {wanted}"
        );
    }
    format!("knownHostsFile does not name the host {wanted}")
}

/// The type that stands at the head of a key in wire form.
fn key_type(key: &[u8]) -> String {
    let text = key
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    clean(&String::from_utf8_lossy(text.unwrap_or(b"an unknown key")))
}

/// The types of keys that can be asked for.
pub(super) const TYPES: &[&str] =
    &["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// The types of the keys that the file pins for a host, e.g. `ssh-rsa`, in the order in which they are asked for: a server
/// has one key of each.
pub(super) fn pinned_types(file: &str, host: &str, port: u16) -> Vec<String> {
    let wanted = name_of(host, port);
    let lines: Vec<_> = file.lines().filter_map(Line::parse).filter(|line| line.names(&wanted)).collect();
    let revoked = |key: &[u8]| lines.iter().any(|line| line.marker == Some("@revoked") && line.key == key);
    let pinned = lines.iter().filter(|line| line.marker.is_none() && !revoked(&line.key));
    let types: Vec<_> = pinned.map(|line| key_type(&line.key)).collect();
    TYPES
        .iter()
        .filter(|name| types.iter().any(|pinned| pinned == *name))
        .map(|name| (*name).to_owned())
        .collect()
}

/// OpenSSH writes hosts on other ports as `[host]:port`.
fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

struct Line<'a> {
    marker: Option<&'a str>,
    hosts: &'a str,
    key_type: &'a str,
    key: Vec<u8>,
}

impl<'a> Line<'a> {
    /// `None` for comments, empty lines and what is no line of this format.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (marker, hosts) =
            if first.starts_with('@') { (Some(first), words.next()?) } else { (None, first) };
        let key_type = words.next()?;
        let key = STANDARD.decode(words.next()?).ok()?;
        Some(Self { marker, hosts, key_type, key })
    }

    fn names(&self, host: &str) -> bool {
        if let Some(hashed) = self.hosts.strip_prefix("|1|") {
            return is_hash_of(hashed, host);
        }
        let mut named = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                Some(pattern) if matches(pattern, host) => return false,
                Some(_) => {}
                None => named |= matches(pattern, host),
            }
        }
        named
    }
}

/// `salt|hash`: HMAC-SHA1 of the host's name, as OpenSSH defines it; the hash hides names, it protects none.
fn is_hash_of(hashed: &str, host: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, host.as_bytes(), &hash).is_ok()
}

/// `*` stands for any characters, `?` for one; names are compared without case.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase().into_bytes(), host.as_bytes());
    let (mut p, mut h, mut star) = (0, 0, None);
    while h < host.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, h));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == host[h] => (p, h) = (p + 1, h + 1),
            // Let the last star take one more.
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, h) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}
