//! Fetching over ssh, from the machine's own sshd on loopback (Debian: openssh-server; `tests/run` installs it).

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Credentials, Mirror, MirrorSettings};
use super::World;
use fairlead_core::model::tree::Tree;

const SSHD: &str = "/usr/sbin/sshd";

pub(super) struct Sshd {
    child: Child,
    pub(super) port: u16,
    user: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn keygen(file: &Path, kind: &str) -> String {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-t", kind, "-f"]).arg(file);
    assert!(command.status().unwrap().success());
    fs::read_to_string(file.with_extension("pub")).unwrap()
}

/// A server with these host keys that lets `client` in as the present user.
fn sshd(world: &World, host_keys: &[PathBuf]) -> Sshd {
    sshd_with(world, host_keys, "")
}

/// The same, with more lines of its settings.
pub(super) fn sshd_with(world: &World, host_keys: &[PathBuf], more: &str) -> Sshd {
    assert!(
        Path::new(SSHD).exists(),
        "there is no {SSHD}: install openssh-server, or run tests/run, which does"
    );
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap().trim().to_owned();
    if user == "root" {
        // Where sshd shuts its unprivileged half in; the package's service makes it at a start.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let keys: String = host_keys.iter().map(|key| format!("HostKey {}\n", key.display())).collect();
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\n{keys}AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nPermitRootLogin yes\n{more}\n",
        world.path("client.pub").display()
    );
    let config = world.path(&format!("sshd-{port}.conf"));
    fs::write(&config, text).unwrap();
    let log = fs::File::create(world.path("sshd.log")).unwrap();
    let child = Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let server = Sshd { child, port, user };
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{}", fs::read_to_string(world.path("sshd.log")).unwrap());
}

pub(super) fn settings(world: &World, server: &Sshd) -> MirrorSettings {
    let path = world.source_path();
    let url = format!("ssh://{}@127.0.0.1:{}{}", server.user, server.port, path.display());
    let mut settings = MirrorSettings::new(url.parse().unwrap(), "main");
    settings.access.credentials = Some(Credentials::SshKey {
        key_file: world.path("client"),
        known_hosts_file: world.path("known_hosts"),
    });
    settings
}

pub(super) fn pin(world: &World, server: &Sshd, key: &str) {
    fs::write(world.path("known_hosts"), format!("[127.0.0.1]:{} {key}", server.port)).unwrap();
}

#[test]
fn threat_ssh_host_keys() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    keygen(&world.path("client"), "ed25519");
    let host_key = keygen(&world.path("host"), "ed25519");
    let other_key = keygen(&world.path("other"), "ed25519");
    let server = sshd(&world, &[world.path("host")]);
    let settings = settings(&world, &server);
    let mut mirror = Mirror::open(&settings, &world.mirror_path()).unwrap();
    // Another key is pinned; then none.
    pin(&world, &server, &other_key);
    let error = mirror.fetch(&[]).unwrap_err();
    assert_eq!(error.label(), "host-key-mismatch", "{error}");
    assert!(error.to_string().contains("SHA256:"), "{error}");
    fs::write(world.path("known_hosts"), format!("127.0.0.1 {host_key}")).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "host-key-mismatch");
    // Its own key is: fetched, and again with news.
    pin(&world, &server, &host_key);
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    let second = world.commit("main", &[("a", Some("2"))]);
    assert_eq!(mirror.fetch(&[]).unwrap().head, second);
    assert!(mirror.history().tree(second).unwrap().read("a").unwrap().is_some());
    // The server does not know this key.
    fs::remove_file(world.path("client")).unwrap();
    fs::remove_file(world.path("client.pub")).unwrap();
    let known = fs::read(world.path("other.pub")).unwrap();
    keygen(&world.path("client"), "ed25519");
    fs::write(world.path("client.pub"), known).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "authentication-failed");
    assert_eq!(mirror.head(), Some(second));
    drop(server);
    assert_eq!(mirror.fetch(&[]).unwrap_err().label(), "unreachable");
}

#[test]
fn a_repository_that_is_not_there_is_told_over_ssh() {
    let world = World::new();
    keygen(&world.path("client"), "ed25519");
    let host_key = keygen(&world.path("host"), "ecdsa");
    let server = sshd(&world, &[world.path("host")]);
    pin(&world, &server, &host_key);
    fs::remove_dir_all(world.source_path()).unwrap();
    let mut mirror = Mirror::open(&settings(&world, &server), &world.mirror_path()).unwrap();
    let error = mirror.fetch(&[]).unwrap_err();
    assert!(["repository-not-found", "unreachable"].contains(&error.label()), "{error:?}");
}

#[test]
fn ssh_without_a_key_and_pinned_hosts_is_refused_at_once() {
    let world = World::new();
    let settings = MirrorSettings::new("git@git.example.com:fleet".parse().unwrap(), "main");
    let error = Mirror::open(&settings, &world.mirror_path()).map(|_| ()).unwrap_err();
    assert_eq!(error.label(), "credentials-missing");
    assert!(error.to_string().contains("knownHostsFile"), "{error}");
}

#[test]
fn a_key_of_a_pinned_type_is_asked_for() {
    let world = World::new();
    let head = world.commit("main", &[("a", Some("1"))]);
    keygen(&world.path("client"), "ed25519");
    let kinds = ["ed25519", "ecdsa", "rsa"];
    let keys: Vec<_> = kinds.iter().map(|kind| keygen(&world.path(&format!("host-{kind}")), kind)).collect();
    let files: Vec<_> = kinds.iter().map(|kind| world.path(&format!("host-{kind}"))).collect();
    let server = sshd(&world, &files);
    let settings = settings(&world, &server);
    for (kind, key) in kinds.iter().zip(&keys) {
        pin(&world, &server, key);
        let mut mirror = Mirror::open(&settings, &world.path(&format!("mirror-{kind}"))).unwrap();
        assert_eq!(mirror.fetch(&[]).unwrap().head, head, "{kind}");
    }
    // In a pattern, beside lines that are none or of no use.
    let hidden = format!(
        "@cert-authority *.example.com {}no line\n*.0.0.? {}[127.0.0.*]:* {}",
        keys[0], keys[0], keys[2]
    );
    fs::write(world.path("known_hosts"), hidden).unwrap();
    let mut mirror = Mirror::open(&settings, &world.path("mirror-pattern")).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
}

#[test]
fn keys_that_can_not_be_used_are_named_as_what_they_are() {
    let world = World::new();
    keygen(&world.path("plain"), "ed25519");
    fs::write(world.path("known_hosts"), "").unwrap();
    let url = "ssh://git@127.0.0.1:1/fleet.git".parse().unwrap();
    let mut settings = MirrorSettings::new(url, "main");
    for (name, options, says) in [
        ("openssh", &["-t", "ed25519"][..], "passphrase"),
        ("pem", &["-t", "rsa", "-m", "PEM"], "passphrase"),
        ("pkcs8", &["-t", "rsa", "-m", "PKCS8"], "passphrase"),
        ("plain.pub", &[], "public key"),
        ("known_hosts", &[], "no private key"),
    ] {
        if !options.is_empty() {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-N", "a secret"]).args(options).arg("-f").arg(world.path(name));
            assert!(command.status().unwrap().success());
        }
        let (key_file, known_hosts_file) = (world.path(name), world.path("known_hosts"));
        settings.access.credentials = Some(Credentials::SshKey { key_file, known_hosts_file });
        let mut mirror = Mirror::open(&settings, &world.mirror_path()).unwrap();
        let error = mirror.fetch(&[]).unwrap_err();
        assert_eq!(error.label(), "credential-file", "{name}: {error}");
        assert!(error.to_string().contains(says) && error.to_string().contains(name), "{error}");
    }
}
