//! Pinned host keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::super::known_hosts::{Verdict, judge};

const KEY: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x04keyA";
const OTHER: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x04keyB";

fn line(hosts: &str, key: &[u8]) -> String {
    format!("{hosts} ssh-ed25519 {} comment\n", STANDARD.encode(key))
}

/// As `ssh-keygen -H` writes it.
fn hashed(host: &str) -> String {
    let salt = [7; 20];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), host.as_bytes());
    format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(tag))
}

#[test]
fn a_key_is_pinned_for_its_host_and_port() {
    for (hosts, host, port) in [
        ("git.example.com", "git.example.com", 22),
        ("git.example.com", "GIT.example.com", 22),
        ("other,git.example.com,10.0.0.1", "git.example.com", 22),
        ("*.example.com", "git.example.com", 22),
        ("g?t.*", "git.example.com", 22),
        ("[git.example.com]:2222", "git.example.com", 2222),
        (&hashed("git.example.com"), "git.example.com", 22),
        (&hashed("[git.example.com]:2222"), "git.example.com", 2222),
    ] {
        assert_eq!(judge(&line(hosts, KEY), host, port, KEY), Verdict::Pinned, "{hosts}");
        assert_eq!(
            judge(&line(hosts, KEY), host, port, OTHER),
            Verdict::Other(vec!["ssh-ed25519".into()]),
            "{hosts}"
        );
    }
}

#[test]
fn everything_else_is_not() {
    for hosts in [
        "example.com",
        "git.example.com.evil",
        "*.example.com,!git.example.com",
        "[git.example.com]:2222",
        "#git.example.com",
    ] {
        assert_eq!(judge(&line(hosts, KEY), "git.example.com", 22, KEY), Verdict::UnknownHost, "{hosts}");
    }
    let text = format!(
        "\n# comment\nbroken line\ngit.example.com ssh-ed25519 !!!\n@cert-authority {}",
        line("*", KEY)
    );
    assert_eq!(judge(&text, "git.example.com", 22, KEY), Verdict::UnknownHost);
    let revoked = format!("{}@revoked {}", line("git.example.com", KEY), line("*", KEY));
    assert_eq!(judge(&revoked, "git.example.com", 22, KEY), Verdict::Revoked);
    assert_eq!(judge("", "git.example.com", 22, KEY), Verdict::UnknownHost);
}

#[test]
fn the_hash_is_the_one_that_openssh_writes() {
    // `ssh-keygen -H` (OpenSSH 9.2) on a file that names git.example.com.
    assert_eq!(
        judge(
            &line("|1|+YuXtCNmqNnSGKK9auhU2FN5I04=|xllv9ISH3qRqFnwsszIovE0adxA=", KEY),
            "git.example.com",
            22,
            KEY
        ),
        Verdict::Pinned
    );
}
