//! Fetching and pushing over https, against Git's own server.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{Request, StatusCode};
use http_body_util::Full;

use super::super::https::{connect, failed};
use super::super::settings::FetchLimits;
use super::super::transport::{Peer, Way};
use super::super::{
    Author, Credentials, History, Mirror, MirrorSettings, RepoError, commit_restoring, create_branch, push,
};
use super::World;
use super::server::{Manner, Server};
use fairlead_core::model::tree::Tree;
use fairlead_net::{Proxies, Route, Trust};

/// A world whose source is served over https.
struct Served {
    world: World,
    server: Server,
    token: Arc<Mutex<String>>,
}

const TOKEN: &str = "canary-7f3a";

impl Served {
    fn new() -> Self {
        let world = World::new();
        world.source.config().unwrap().set_bool("http.receivepack", true).unwrap();
        let token = Arc::new(Mutex::new(TOKEN.to_owned()));
        let root = world.dir.path().to_owned();
        let server = Server::start(world.dir.path(), Manner::Serve { root, token: Arc::clone(&token) });
        fs::write(world.path("token"), format!("{TOKEN}\n")).unwrap();
        Self { world, server, token }
    }

    fn settings(&self) -> MirrorSettings {
        settings(&self.world, &self.server, "source.git")
    }

    fn mirror(&self) -> Mirror {
        Mirror::open(&self.settings(), &self.world.mirror_path()).unwrap()
    }
}

fn settings(world: &World, server: &Server, repository: &str) -> MirrorSettings {
    let mut settings = MirrorSettings::new(server.url(repository).parse().unwrap(), "main");
    settings.access.ca_file = Some(server.ca.clone());
    settings.access.credentials = Some(Credentials::Token { file: world.path("token"), user: None });
    settings
}

/// The token is in no error that people see.
fn label(error: &RepoError) -> &'static str {
    assert!(!error.to_string().contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{error:?}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    error.label()
}

#[test]
fn a_fetch_over_https_with_a_token_and_a_ca_file() {
    let served = Served::new();
    let first = served.world.commit("main", &[("a.yaml", Some("1"))]);
    served.world.commit("unasked", &[("b.yaml", Some("1"))]);
    served.world.tag("v1.0.0", first, true);
    let mut mirror = served.mirror();
    assert_eq!(mirror.fetch(&[]).unwrap().head, first);
    let history = mirror.history();
    assert_eq!(history.tags().unwrap().iter().map(|tag| tag.commit).collect::<Vec<_>>(), [first]);
    assert_eq!(history.resolve_branch("unasked").unwrap_err().label(), "no-such-branch");
    let second = served.world.commit("main", &[("a.yaml", Some("2"))]);
    let fetched = mirror.fetch(&[]).unwrap();
    assert_eq!((fetched.head, fetched.changed.len(), fetched.rebuilt), (second, 1, None));
    assert_eq!(&*history.tree(second).unwrap().read("a.yaml").unwrap().unwrap(), b"2");
    assert_eq!(history.is_ancestor(first, second), Ok(true));
    // Without news, nothing is downloaded, and nothing is asked without the token first.
    served.server.seen.lock().unwrap().clear();
    assert_eq!(mirror.fetch(&[]).unwrap().changed, vec![]);
    let seen = served.server.seen.lock().unwrap();
    assert!(matches!(&**seen, [(line, true)] if line.starts_with("GET ")), "{seen:?}");
}

#[test]
fn a_token_is_read_at_every_fetch() {
    let served = Served::new();
    let head = served.world.commit("main", &[("a", Some("1"))]);
    let mut mirror = served.mirror();
    mirror.fetch(&[]).unwrap();
    *served.token.lock().unwrap() = "rotated".into();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "authentication-failed");
    fs::write(served.world.path("token"), "rotated").unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    fs::write(served.world.path("token"), "\n").unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "credential-file");
    fs::remove_file(served.world.path("token")).unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "credential-file");
    assert_eq!(mirror.head(), Some(head));
    let mut without = served.settings();
    without.access.credentials = None;
    let mut mirror = Mirror::open(&without, &served.world.path("other")).unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "credentials-missing");
}

#[test]
fn a_certificate_of_another_authority_is_refused_before_a_token_is_sent() {
    let served = Served::new();
    served.world.commit("main", &[("a", Some("1"))]);
    let mut settings = served.settings();
    // What one mirror trusts, no other does.
    Mirror::open(&settings, &served.world.path("trusts")).unwrap().fetch(&[]).unwrap();
    served.server.seen.lock().unwrap().clear();
    settings.access.ca_file = None;
    let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "certificate-rejected");
    assert!(served.server.seen.lock().unwrap().is_empty());
    settings.access.ca_file = Some(PathBuf::from("/nowhere/ca.pem"));
    drop(mirror);
    let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "credential-file");
}

#[test]
fn threat_redirects_leak_credentials() {
    let served = Served::new();
    served.world.commit("main", &[("a", Some("1"))]);
    // The same machine under another name is another host.
    let to = format!("https://localhost:{}", served.server.port);
    let first = Server::start(served.world.dir.path(), Manner::Redirect { to });
    let mut settings = settings(&served.world, &first, "source.git");
    // Both authorities are trusted, so that it is the redirect that is refused.
    let both = fs::read_to_string(&first.ca).unwrap() + &fs::read_to_string(&served.server.ca).unwrap();
    fs::write(served.world.path("both.pem"), both).unwrap();
    settings.access.ca_file = Some(served.world.path("both.pem"));
    let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "redirect-refused");
    // The token was for the first, which has it; nothing at all was asked of the other.
    assert_eq!(*served.server.seen.lock().unwrap(), vec![]);
}

/// A proxy for one connection, which notes what it was asked.
fn proxy() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let mut near = listener.accept().unwrap().0;
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            near.read_exact(&mut byte).unwrap();
            asked.extend(byte);
        }
        let asked = String::from_utf8(asked).unwrap();
        let far = TcpStream::connect(asked.split(' ').nth(1).unwrap()).unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut up, mut down) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let back = std::thread::spawn(move || std::io::copy(&mut down, &mut up));
        let (mut near, mut far) = (near, far);
        let _ended = std::io::copy(&mut near, &mut far);
        let _ended = far.shutdown(std::net::Shutdown::Both);
        let _ended = back.join();
        asked
    });
    (port, thread)
}

#[test]
fn a_proxy_of_the_environment_sees_only_a_tunnel() {
    let world = World::new();
    let server = Server::start(world.dir.path(), Manner::Status(404));
    let url = server.url("x.git");
    let trust = Trust::system_and(Some(&server.ca)).unwrap();
    let (limits, cause) = (FetchLimits::default(), Default::default());
    let peer = Peer::Http { trust: Box::new(trust), authorization: None };
    let way = Way { url: url.parse().unwrap(), peer, used: "nothing".into(), limits, cause, listing: None };
    let status = |variables: &[(&str, &str)]| {
        let value =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let ask = connect(&way, Route::Environment(Arc::new(Proxies::read(value)))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = Request::get(&url).body(Full::default()).unwrap();
        let answer = runtime.block_on(ask(request)).map_err(|error| failed(&way.url, &error));
        answer.map(|answer| answer.status())
    };
    let (port, proxy) = proxy();
    let named = format!("http://user:word@127.0.0.1:{port}");
    assert_eq!(status(&[("HTTPS_PROXY", &named)]), Ok(StatusCode::NOT_FOUND));
    let asked = proxy.join().unwrap().to_lowercase();
    assert!(asked.starts_with(&format!("connect 127.0.0.1:{} ", server.port)), "{asked}");
    assert!(asked.contains("proxy-authorization: basic dxnlcjp3b3jk"), "{asked}");
    assert_eq!(server.seen.lock().unwrap().len(), 1);
    // One for others only, and one that is not there.
    let others = [("ALL_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "127.0.0.0/8")];
    assert_eq!(status(&others), Ok(StatusCode::NOT_FOUND));
    let error = status(&others[..1]).unwrap_err();
    assert_eq!(label(&error), "unreachable");
    assert!(
        error.to_string().contains("the proxy 127.0.0.1:1 (ALL_PROXY): the connection was refused"),
        "{error}"
    );
}

#[test]
fn a_certificate_that_is_an_authoritys_itself_is_taken_where_it_is_pinned() {
    let served = Served::new();
    let head = served.world.commit("main", &[("a", Some("1"))]);
    let root = served.world.dir.path().to_owned();
    let manner = Manner::Serve { root, token: Arc::clone(&served.token) };
    let server = Server::start_with(served.world.dir.path(), manner, true);
    let mut settings = settings(&served.world, &server, "source.git");
    let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    settings.access.ca_file = Some(served.server.ca.clone());
    drop(mirror);
    let mut mirror = Mirror::open(&settings, &served.world.mirror_path()).unwrap();
    let error = mirror.fetch(&[]).unwrap_err();
    assert_eq!(label(&error), "certificate-rejected");
    assert!(error.to_string().contains("caFile"), "{error}");
}

#[test]
fn what_a_broken_server_says_is_typed() {
    let world = World::new();
    fs::write(world.path("token"), TOKEN).unwrap();
    for (status, expected) in [
        (404, "repository-not-found"),
        (403, "authentication-failed"),
        (500, "unreachable"),
        (200, "unreachable"),
    ] {
        let server = Server::start(world.dir.path(), Manner::Status(status));
        let dir = world.path(&format!("mirror-{status}"));
        let mut mirror = Mirror::open(&settings(&world, &server, "x.git"), &dir).unwrap();
        let error = mirror.fetch(&[]).unwrap_err();
        assert_eq!(label(&error), expected, "{status}: {error}");
    }
    // Nobody listens any more.
    let server = Server::start(world.dir.path(), Manner::Silent);
    let settings = settings(&world, &server, "x.git");
    drop(server);
    let began = Instant::now();
    let mut mirror = Mirror::open(&settings, &world.path("mirror-none")).unwrap();
    // The CA file is still there: only the listener is gone.
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "unreachable");
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
#[ignore = "waits for the time-out of 30 s"]
fn a_server_that_says_nothing_is_left() {
    let world = World::new();
    fs::write(world.path("token"), TOKEN).unwrap();
    let server = Server::start(world.dir.path(), Manner::Silent);
    let mut mirror = Mirror::open(&settings(&world, &server, "x.git"), &world.mirror_path()).unwrap();
    let began = Instant::now();
    assert_eq!(label(&mirror.fetch(&[]).unwrap_err()), "timeout");
    assert!((25..45).contains(&began.elapsed().as_secs()));
}

#[test]
fn a_corrupt_mirror_of_a_remote_is_rebuilt() {
    let served = Served::new();
    let head = served.world.commit("main", &[("a", Some("1"))]);
    served.mirror().fetch(&[]).unwrap();
    let pack = super::packs(&served.world.mirror_path()).pop().unwrap();
    let bytes = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
    let mut mirror = served.mirror();
    assert_eq!(mirror.history().tree(head).map(|_| ()).unwrap_err().label(), "corrupt");
    assert!(mirror.fetch(&[]).unwrap().rebuilt.is_some());
    assert!(mirror.history().tree(head).unwrap().read("a").unwrap().is_some());
}

#[test]
fn a_rollback_is_pushed_as_a_branch_and_never_by_force() {
    let served = Served::new();
    let good =
        served.world.commit("main", &[("profiles/x/a.yaml", Some("good")), ("clusters/c.yaml", Some("1"))]);
    served.world.commit("main", &[("profiles/x/a.yaml", Some("bad")), ("profiles/x/b.yaml", Some("bad"))]);
    let bad = served.world.commit("main", &[("clusters/c.yaml", Some("2"))]);
    let clone = served.world.path("clone");
    git2::Repository::clone(served.world.source_path().to_str().unwrap(), &clone).unwrap();
    let author = Author {
        name: "Ops".into(),
        email: "ops@example.com".into(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    let back = commit_restoring(&clone, "main", good, &["profiles".into()], "Go back", &author).unwrap();
    create_branch(&clone, "rollback/retail", back).unwrap();
    let access = served.settings().access;
    push(&clone, &access, "rollback/retail", "rollback/retail").unwrap();
    let mut mirror = served.mirror();
    mirror.fetch(&["rollback/retail".into()]).unwrap();
    let tree = mirror.history().tree(back).unwrap();
    assert_eq!(&*tree.read("profiles/x/a.yaml").unwrap().unwrap(), b"good");
    assert_eq!(tree.read("profiles/x/b.yaml"), Ok(None));
    assert_eq!(&*tree.read("clusters/c.yaml").unwrap().unwrap(), b"2");
    assert_eq!(mirror.history().commit_info(back).unwrap().parents, [bad]);
    // The branch moved on at the server: refused, not overwritten.
    served.world.commit("main", &[("clusters/c.yaml", Some("3"))]);
    let error = push(&clone, &access, "rollback/retail", "main").unwrap_err();
    assert_eq!(label(&error), "push-rejected", "{error}");
    assert!(History::discover(&clone).unwrap().resolve_branch("rollback/retail").is_ok());
}

#[test]
fn refs_of_any_name_are_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let served = Served::new();
    let head = served.world.commit("main", &[("a", Some("1"))]);
    let id = head.to_string();
    let git = |arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new("git");
        command.arg("-C").arg(served.world.source_path()).args(arguments);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    let long = format!("refs/tags/{}", "long/".repeat(220) + "er");
    let names: [&[u8]; 6] = [
        b"refs/heads/fix-\xe9",
        b"refs/tags/v\xff",
        b"refs/notes/\xfe\xfd",
        b"refs/odd/\xe9",
        "refs/heads/\u{202e}caf\u{e9}".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        git(&["update-ref".as_ref(), std::ffi::OsStr::from_bytes(name), id.as_ref()]);
    }
    for n in 0..300 {
        served.world.set_branch(&format!("work/{n}"), head);
    }
    served.world.tag("v1.0.0", head, true);
    let mut mirror = served.mirror();
    assert_eq!(mirror.fetch(&[]).unwrap().head, head);
    let tags = mirror.history().tags().unwrap();
    assert_eq!(tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["v1.0.0"]);
    // And again, with the connection that the daemon has from then on.
    let next = served.world.commit("main", &[("a", Some("2"))]);
    assert_eq!(mirror.fetch(&["work/7".into()]).unwrap().head, next);
    assert_eq!(mirror.history().resolve_branch("work/7"), Ok(head));
    // A pull request's head has a name of its own.
    git(&["update-ref".as_ref(), "refs/pull/7/head".as_ref(), id.as_ref()]);
    assert_eq!(mirror.fetch_pull("refs/pull/7/head"), Ok(head));
}

#[test]
fn a_repository_with_sha_256_is_refused_in_words() {
    let served = Served::new();
    let path = served.world.path("wide.git");
    let mut git = std::process::Command::new("git");
    git.args(["init", "-q", "--bare", "--object-format=sha256"]).arg(&path);
    assert!(git.status().unwrap().success());
    let far = settings(&served.world, &served.server, "wide.git");
    let mut near = served.world.settings();
    near.access.url = path.to_str().unwrap().parse().unwrap();
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.arg("-C")
            .arg(&path)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
            .args(arguments);
        let output = git.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let commit = git(&["commit-tree", &git(&["mktree"]), "-m", "x"]);
    git(&["update-ref", "refs/heads/main", &commit]);
    for settings in [far, near] {
        let mut mirror = Mirror::open(&settings, &served.world.path("of-wide")).unwrap();
        let error = mirror.fetch(&[]).unwrap_err();
        assert!(["object-format", "repository-form"].contains(&label(&error)), "{error:?}");
        assert!(error.to_string().contains("SHA-1"), "{error}");
    }
}
