//! Pinned host keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::super::known_hosts::{Verdict, judge, pinned_types, problem};

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

#[test]
fn a_changed_key_an_unknown_host_and_what_looks_like_it_are_told_apart() {
    let says = |file: &str, port| problem(file, "git.example.com", port, KEY).unwrap();
    let shown = format!("it showed ssh-ed25519 SHA256:{}", fingerprint());
    for (file, port, says_so) in [
        (line("git.example.com", OTHER), 22, "knownHostsFile has another key of ssh-ed25519 for it"),
        (line("other.example.com", KEY), 22, "knownHostsFile does not name the host git.example.com"),
        (
            line("other.example.com", KEY),
            2222,
            "knownHostsFile does not name the host [git.example.com]:2222",
        ),
        (line("git.example.com", KEY), 2222, "names git.example.com for port 22 only"),
        (format!("@cert-authority {}", line("*.example.com", OTHER)), 22, "@cert-authority only"),
        (format!("@revoked {}", line("*", KEY)), 22, "which knownHostsFile revokes"),
    ] {
        let text = says(&file, port);
        assert!(text.starts_with(&shown) && text.contains(says_so), "{text}");
    }
    assert_eq!(problem(&line("git.example.com", KEY), "git.example.com", 22, KEY), None);
}

fn fingerprint() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, KEY);
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest)
}

#[test]
fn the_types_that_are_asked_for_are_those_of_the_pinned_keys() {
    let typed = |hosts: &str, name: &str| {
        let length = u32::try_from(name.len()).unwrap().to_be_bytes();
        let key = [&length[..], name.as_bytes(), b"key"].concat();
        format!("{hosts} {name} {}\n", STANDARD.encode(key))
    };
    let types = |file: &str| pinned_types(file, "git.example.com", 22);
    let all = ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-dss"];
    let file: String = all.iter().map(|name| typed("git.example.com", name)).collect();
    assert_eq!(types(&file), ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]);
    assert_eq!(types(&typed(&hashed("git.example.com"), "ssh-rsa")), ["ssh-rsa"]);
    assert_eq!(types(&typed("[git.example.com]:2222", "ssh-rsa")), [""; 0]);
    assert_eq!(types(&format!("@cert-authority {}", typed("*", "ssh-rsa"))), [""; 0]);
    let revoked = format!("{}@revoked {}", typed("*", "ssh-rsa"), typed("*", "ssh-rsa"));
    assert_eq!(types(&revoked), [""; 0]);
}
