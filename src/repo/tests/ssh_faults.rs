//! What goes wrong over ssh: odd refs, programs that talk, stall or die, keys and hosts of every type.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::{
    Author, FetchLimits, Mirror, MirrorSettings, RepoError, commit_restoring, create_branch, push,
};
use super::World;
use super::ssh::{Sshd, keygen, pin, settings, sshd_with};
use fairlead_core::model::tree::Tree;

/// A world whose source is served over ssh, with an ed25519 key on each side.
struct Served {
    world: World,
    server: Sshd,
}

impl Served {
    /// `program`: what the server runs instead of what it is asked for, by a shell; that stands in
    /// `$SSH_ORIGINAL_COMMAND`. Empty: as asked for.
    fn new(program: &str) -> Self {
        let world = World::new();
        keygen(&world.path("client"), "ed25519");
        let host_key = keygen(&world.path("host"), "ed25519");
        let more = if program.is_empty() { String::new() } else { format!("ForceCommand {program}") };
        let server = sshd_with(&world, &[world.path("host")], &more);
        pin(&world, &server, &host_key);
        Self { world, server }
    }

    fn settings(&self) -> MirrorSettings {
        settings(&self.world, &self.server)
    }

    fn fetch(&self, limits: FetchLimits) -> Result<(), RepoError> {
        let settings = MirrorSettings { limits, ..self.settings() };
        let mirror = tempfile::tempdir().unwrap();
        let mut mirror = Mirror::open(&settings, &mirror.path().join("mirror")).unwrap();
        mirror.fetch(&[]).map(|_| ())
    }

    /// The error of a fetch, which is on one line and not long.
    fn error(&self) -> RepoError {
        let error = self.fetch(FetchLimits::default()).unwrap_err();
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control) && text.chars().count() < 700, "{text:?}");
        error
    }
}

/// Runs what the client asked for.
const AS_ASKED: &str = "sh -c \"$SSH_ORIGINAL_COMMAND\"";

#[test]
fn refs_of_odd_names_cost_nothing_over_ssh() {
    let served = Served::new("");
    let head = served.world.commit("main", &[("a", Some("1"))]);
    served.world.tag("v1.0.0", head, true);
    let mut mirror = Mirror::open(&served.settings(), &served.world.mirror_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    // Somebody pushes; the server's Git lists each of them.
    let long = format!("refs/heads/{}", "x".repeat(300));
    let names: [&[u8]; 6] = [
        b"refs/heads/fix-\xe9",
        b"refs/tags/\xff\xfe",
        b"refs/notes/\xe9",
        b"refs/heads/a\xc3(",
        long.as_bytes(),
        b"refs/x/y",
    ];
    let mut packed = fs::File::create(served.world.source_path().join("packed-refs")).unwrap();
    for name in names {
        packed.write_all(&[format!("{head} ").as_bytes(), name, b"\n"].concat()).unwrap();
    }
    let second = served.world.commit("main", &[("a", Some("2"))]);
    let fetched = mirror.fetch(&[]).unwrap();
    assert_eq!((fetched.head, fetched.rebuilt), (second, None));
    assert_eq!(mirror.history().tags().unwrap().len(), 1);
    // From the start, too; and each ref that can be kept can be asked for.
    served.fetch(FetchLimits::default()).unwrap();
    assert_eq!(mirror.fetch_pull("refs/x/y").unwrap(), head);
    assert_eq!(mirror.fetch_pull("refs/x/z").unwrap_err().label(), "no-such-branch");
}

#[test]
fn what_a_servers_program_says_is_told_and_costs_nothing() {
    let noise = "head -c 20000000 /dev/zero | tr '\\0' 'x' | fold -w 70 >&2";
    let served = Served::new(&format!("{noise}; {AS_ASKED}"));
    served.world.commit("main", &[("a", Some("1"))]);
    served.fetch(FetchLimits::default()).unwrap();
    let error = served.fetch(FetchLimits { bytes: 1 << 20, ..FetchLimits::default() }).unwrap_err();
    assert_eq!(error.label(), "too-large", "{error}");

    let served = Served::new(&format!("{noise}; echo 'ERROR: Repository not found.' >&2; exit 1"));
    let error = served.error();
    assert_eq!(error.label(), "repository-not-found", "{error}");
    let text = error.to_string();
    assert!(text.contains("it says: … ") && text.ends_with("ERROR: Repository not found."), "{text}");
    assert!(text.contains("the ssh key in ") && text.contains("/client (ssh-ed25519 SHA256:"), "{text}");
}

#[test]
fn a_program_that_does_not_serve_is_told_as_what_it_does() {
    for (program, label, says) in [
        ("exit 3", "unreachable", "its git-upload-pack ended with exit status 3"),
        ("echo no luck >&2; exit 3", "unreachable", "exit status 3; it says: no luck"),
        ("no-such-program", "unreachable", "it has no git-upload-pack"),
        ("kill -9 $$", "unreachable", "its git-upload-pack was killed"),
        ("echo Welcome to Git; exit 0", "unreachable", "it begins with 'Welcome to Git'"),
        ("printf '0034ERR access denied, ask the platform team for it\\n'", "unreachable", "access denied"),
        ("true", "unreachable", "ended before all was there"),
        ("printf 00", "unreachable", "ended before all was there"),
        ("printf 0000", "empty-repository", "has no commits"),
    ] {
        let served = Served::new(program);
        served.world.commit("main", &[("a", Some("1"))]);
        let error = served.error();
        assert_eq!(error.label(), label, "{program}: {error}");
        assert!(error.to_string().contains(says), "{program}: {error}");
    }
}

#[test]
fn a_server_that_stalls_is_left_in_time() {
    let stalled = "sleep 1000";
    let in_the_middle = format!("{AS_ASKED} | (head -c 100; sleep 1000)");
    for program in [stalled, &in_the_middle] {
        let served = Served::new(program);
        served.world.commit("main", &[("a", Some("1"))]);
        let limits = FetchLimits { time: Duration::from_secs(3), ..FetchLimits::default() };
        let began = Instant::now();
        let error = served.fetch(limits).unwrap_err();
        assert_eq!(error.label(), "timeout", "{program}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    // One that takes the connection and says nothing, and one that goes on for ever before it says who it is.
    for says in ["", "hello\r\n"] {
        let served = Served::new("");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _thread = std::thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            while !says.is_empty() && stream.write_all(says.as_bytes()).is_ok() {}
            std::thread::sleep(Duration::from_secs(5));
        });
        let mut settings = served.settings();
        settings.access.url = format!("ssh://git@127.0.0.1:{port}/x.git").parse().unwrap();
        settings.limits.time = Duration::from_secs(2);
        let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
        let error = mirror.fetch(&[]).unwrap_err();
        let label = if says.is_empty() { "timeout" } else { "unreachable" };
        assert_eq!(error.label(), label, "{error}");
    }
}

#[test]
fn a_server_that_closes_in_the_middle_leaves_the_mirror_as_it_was() {
    let world = World::new();
    let noise: String = (0..200_000).map(|n: u32| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    let first = world.commit("main", &[("a", Some(&noise))]);
    keygen(&world.path("client"), "ed25519");
    let host_key = keygen(&world.path("host"), "ed25519");
    // In the listing, and in the pack.
    for bytes in [150, 1_500, 100_000] {
        let more = format!("ForceCommand {AS_ASKED} | (dd bs=1 count={bytes} status=none; kill -9 $$)");
        let server = sshd_with(&world, &[world.path("host")], &more);
        pin(&world, &server, &host_key);
        let dir = world.path(&format!("mirror-{bytes}"));
        let mut mirror = Mirror::open(&settings(&world, &server), &dir).unwrap();
        let error = mirror.fetch(&[]).unwrap_err();
        assert!(["unreachable", "source-corrupt"].contains(&error.label()), "{bytes}: {error:?}");
        assert_eq!(mirror.head(), None);
        drop(server);
        let server = sshd_with(&world, &[world.path("host")], "");
        pin(&world, &server, &host_key);
        drop(mirror);
        let mut mirror = Mirror::open(&settings(&world, &server), &dir).unwrap();
        assert_eq!(mirror.fetch(&[]).unwrap().head, first, "{bytes}");
    }
}

#[test]
fn a_large_pack_comes_through_small_windows() {
    let served = Served::new("");
    let mut state = 1u64;
    let mut noise = vec![0u8; 7 << 20];
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    let mut head = None;
    for n in 0..4u8 {
        noise[0] = n;
        noise[1 << 20] = n;
        let text: String = noise.iter().map(|byte| char::from(b' ' + byte % 90)).collect();
        head = Some(served.world.commit("main", &[(&format!("f{n}"), Some(&text))]));
    }
    let mut mirror = Mirror::open(&served.settings(), &served.world.mirror_path()).unwrap();
    assert_eq!(Some(mirror.fetch(&[]).unwrap().head), head);
    let tree = mirror.history().tree(head.unwrap()).unwrap();
    assert_eq!(tree.read("f3").unwrap().unwrap().len(), 7 << 20);
}

#[test]
fn a_push_over_ssh_gets_past_a_hook_that_talks() {
    let served = Served::new("");
    let first = served.world.commit("main", &[("p/a", Some("1"))]);
    let second = served.world.commit("main", &[("p/a", Some("2"))]);
    let clone = served.world.path("clone");
    let output = Command::new("git")
        .args(["clone", "-q"])
        .arg(served.world.source_path())
        .arg(&clone)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let hook = served.world.source_path().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' 'x' | fold -w 70\ncat >/dev/null\n")
        .unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let author = Author {
        name: "Ann".into(),
        email: "ann@example.com".into(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let paths = ["p".to_owned()];
    let back = commit_restoring(&clone, "main", first, &paths, "back", &author).unwrap();
    create_branch(&clone, "back", back).unwrap();
    push(&clone, &served.settings().access, "back", "back").unwrap();
    let pushed = served.world.source.find_reference("refs/heads/back").unwrap().target().unwrap();
    assert_eq!(pushed.to_string(), back.to_string());
    assert_ne!(back, second);
    // A hook that refuses, with its reason.
    fs::write(&hook, "#!/bin/sh\necho 'main is frozen until Monday' >&2\nexit 1\n").unwrap();
    let error = push(&clone, &served.settings().access, "back", "more").unwrap_err();
    assert_eq!(error.label(), "push-rejected", "{error}");
}

/// A private key in a form, made by the tools that people have.
fn private_key(file: &Path, form: &str) {
    let file_name = file.to_str().unwrap();
    let run = |command: &str| {
        let words: Vec<_> =
            command.split(' ').map(|word| if word == "FILE" { file_name } else { word }).collect();
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        output.stdout
    };
    match form.split_once(' ') {
        Some(("openssl", options)) => {
            run(&format!("openssl {options}"));
            fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let public = Command::new("ssh-keygen").args(["-y", "-f"]).arg(file).output().unwrap();
            assert!(public.status.success(), "{public:?}");
            fs::write(file.with_extension("pub"), public.stdout).unwrap();
        }
        _ => {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-N", ""]).args(form.split(' ')).arg("-f").arg(file);
            assert!(command.status().unwrap().success(), "{form}");
        }
    }
}

#[test]
fn keys_of_every_type_and_form_log_in() {
    let served = Served::new("");
    let head = served.world.commit("main", &[("a", Some("1"))]);
    for form in [
        "-t ed25519",
        "-t rsa",
        "-t rsa -b 2048 -m PEM",
        "-t rsa -b 4096 -m PKCS8",
        "-t ecdsa -b 256",
        "-t ecdsa -b 256 -m PEM",
        "-t ecdsa -b 384 -m PKCS8",
        "-t ecdsa -b 521",
        "-t ecdsa -b 521 -m PEM",
        "openssl genrsa -traditional -out FILE 3072",
        "openssl ecparam -name prime256v1 -genkey -noout -out FILE",
    ] {
        for file in ["client", "client.pub"] {
            let _ = fs::remove_file(served.world.path(file));
        }
        private_key(&served.world.path("client"), form);
        let mirror = tempfile::tempdir().unwrap();
        let mut mirror = Mirror::open(&served.settings(), &mirror.path().join("mirror")).unwrap();
        let fetched = mirror.fetch(&[]).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(fetched.head, head, "{form}");
    }
    // With spaces and DOS line ends, and text before it.
    let key = fs::read_to_string(served.world.path("client")).unwrap();
    let odd = format!("Bag Attributes\r\n    friendlyName: x\r\n{}", key.replace('\n', "  \r\n"));
    fs::write(served.world.path("client"), odd).unwrap();
    served.fetch(FetchLimits::default()).unwrap();
    // With its line ends written out, as JSON has them.
    fs::write(served.world.path("client"), key.replace('\n', "\\n")).unwrap();
    assert!(served.error().to_string().contains("written out as"), "{}", served.error());
    // Cut off.
    fs::write(served.world.path("client"), &key[..key.len() / 2]).unwrap();
    let error = served.error();
    assert_eq!(error.label(), "credential-file", "{error}");
    // Too short to be safe.
    for file in ["client", "client.pub"] {
        fs::remove_file(served.world.path(file)).unwrap();
    }
    private_key(&served.world.path("client"), "-t rsa -b 1024");
    assert!(served.error().to_string().contains("1024 bits"), "{}", served.error());
}

/// A source behind a server with these host keys and settings; the error of a fetch with `pinned` in knownHostsFile.
fn with_host_keys(kinds: &[&str], more: &str, pinned: &str) -> (Result<(), RepoError>, Vec<String>) {
    let world = World::new();
    world.commit("main", &[("a", Some("1"))]);
    keygen(&world.path("client"), "rsa");
    let files: Vec<PathBuf> = kinds.iter().map(|kind| world.path(&format!("host-{kind}"))).collect();
    let keys: Vec<_> = kinds.iter().zip(&files).map(|(kind, file)| keygen(file, kind)).collect();
    let server = sshd_with(&world, &files, more);
    match kinds.iter().position(|kind| *kind == pinned) {
        Some(at) => pin(&world, &server, &keys[at]),
        None => pin(&world, &server, &keygen(&world.path("pinned"), pinned)),
    }
    let mut mirror = Mirror::open(&settings(&world, &server), &world.mirror_path()).unwrap();
    let prints = files.iter().map(|file| {
        let output = Command::new("ssh-keygen").args(["-l", "-f"]).arg(file).output().unwrap().stdout;
        String::from_utf8(output).unwrap().split(' ').nth(1).unwrap().to_owned()
    });
    (mirror.fetch(&[]).map(|_| ()), prints.collect())
}

#[test]
fn a_host_key_of_another_type_is_told_with_its_fingerprint() {
    for (kinds, pinned) in [(&["ecdsa"][..], "ed25519"), (&["ed25519", "ecdsa"], "rsa"), (&["rsa"], "ecdsa")]
    {
        let (result, prints) = with_host_keys(kinds, "", pinned);
        let error = result.unwrap_err();
        assert_eq!(error.label(), "host-key-mismatch", "{error}");
        let text = error.to_string();
        assert!(prints.iter().any(|print| text.contains(print.as_str())), "{text}: {prints:?}");
        assert!(text.contains("knownHostsFile has another key of "), "{text}");
    }
}

#[test]
fn rsa_works_with_sha_2_only() {
    for more in ["HostKeyAlgorithms rsa-sha2-256", "PubkeyAcceptedAlgorithms rsa-sha2-256"] {
        with_host_keys(&["rsa"], more, "rsa").0.unwrap_or_else(|error| panic!("{more}: {error}"));
    }
    let error = with_host_keys(&["rsa"], "HostKeyAlgorithms ssh-rsa", "rsa").0.unwrap_err();
    assert_eq!(error.label(), "host-key-mismatch", "{error}");
    assert!(error.to_string().contains("SHA-256 or SHA-512"), "{error}");
    let error = with_host_keys(&["rsa"], "PubkeyAcceptedAlgorithms ssh-rsa", "rsa").0.unwrap_err();
    assert_eq!(error.label(), "authentication-failed", "{error}");
    assert!(error.to_string().contains("never with SHA-1"), "{error}");
    // Nothing in common, said as that.
    let error = with_host_keys(&["rsa"], "KexAlgorithms diffie-hellman-group14-sha1", "rsa").0.unwrap_err();
    assert!(error.to_string().contains("no key exchange in common"), "{error}");
    with_host_keys(
        &["rsa"],
        "KexAlgorithms ecdh-sha2-nistp256\nCiphers aes128-ctr\nMACs hmac-sha2-256",
        "rsa",
    )
    .0
    .unwrap();
}

#[test]
fn a_login_that_is_refused_names_the_key_and_never_shows_it() {
    let served = Served::new("");
    served.world.commit("main", &[("a", Some("1"))]);
    let key = fs::read_to_string(served.world.path("client")).unwrap();
    fs::write(served.world.path("client.pub"), keygen(&served.world.path("other"), "ed25519")).unwrap();
    let error = served.error();
    assert_eq!(error.label(), "authentication-failed");
    let text = error.to_string();
    let file = served.world.path("client");
    assert!(
        text.contains(&format!("refused the ssh key in {} (ssh-ed25519 SHA256:", file.display())),
        "{text}"
    );
    let secret = key.lines().nth(2).unwrap();
    assert!(!text.contains(secret) && !format!("{error:?}").contains(secret));
}
