//! An API server that lies, floods and stalls, over plain HTTP/1.1 on loopback.
//!
//! In: a [`Trick`]. It serves just enough for a worker to come to the point where the trick is played: discovery, an
//! identity, ledgers that are not there, lists, watches and writes that succeed. Nothing of it is an API server's
//! behaviour; what real servers answer is tested against a real one.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

/// What a server does to whoever asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trick {
    /// Lists are 62 MiB of tiny items.
    Lists,
    /// So is the answer to the first question, which is no list.
    Identity,
    /// So is what comes with each refusal.
    Errors,
    /// Every page of a list names a next one.
    Pages,
    /// The same page again and again.
    SamePage,
    /// Items have names and annotations of a megabyte.
    Names,
    /// Items have managedFields of a thousand levels.
    Deep,
    /// A page never comes to its end.
    Drip,
    /// A watch brings ever new objects with our label.
    Events,
    /// A watch brings one object that grows to 15 MiB.
    BigEvents,
    /// A watch brings an event that never ends.
    SlowEvents,
    /// Each watch ends at once.
    WatchStorm,
    /// Each watch says that its version is forgotten.
    Forgets,
    /// Versions are words, empty, a megabyte long, and go back.
    Versions,
    /// Applies succeed, and nothing is there.
    Forgetful,
    /// Applies succeed, and a watch says at once that the object was deleted.
    Undoes,
    /// A ledger unpacks to a gigabyte.
    LedgerBomb,
    /// Ten thousand ledgers.
    Ledgers,
    /// Discovery names 100,000 kinds.
    Kinds,
    /// Discovery names a million groups.
    Groups,
    /// Discovery is compressed, and a gigabyte.
    Compressed,
    /// An answer without an end.
    Endless,
    /// Headers without an end.
    Headers,
    /// No JSON, no HTTP.
    Nonsense,
    /// Redirects to itself.
    Redirects,
    /// Every answer comes after two seconds, byte by byte.
    Slow,
}

impl Trick {
    pub const ALL: [Self; 26] = [
        Self::Lists,
        Self::Identity,
        Self::Errors,
        Self::Pages,
        Self::SamePage,
        Self::Names,
        Self::Deep,
        Self::Drip,
        Self::Events,
        Self::BigEvents,
        Self::SlowEvents,
        Self::WatchStorm,
        Self::Forgets,
        Self::Versions,
        Self::Forgetful,
        Self::Undoes,
        Self::LedgerBomb,
        Self::Ledgers,
        Self::Kinds,
        Self::Groups,
        Self::Compressed,
        Self::Endless,
        Self::Headers,
        Self::Nonsense,
        Self::Redirects,
        Self::Slow,
    ];
}

const VERBS: [&str; 7] = ["get", "list", "watch", "create", "patch", "delete", "update"];
const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// 62 MiB of JSON that a general tree makes gigabytes of.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = br#"{"kind":"List","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u-1","resourceVersion":"1"},"items":["#;
    let mut bomb = head.to_vec();
    while bomb.len() < 62 << 20 {
        bomb.extend_from_slice(br#"{"":0},"#);
    }
    bomb.extend_from_slice(b"0]}");
    bomb
});

/// A gigabyte of spaces, compressed.
static SPACES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b' '; 1 << 20];
    for _ in 0..1_024 {
        packer.write_all(&block).unwrap();
    }
    packer.finish().unwrap()
});

/// The server; it ends when this is dropped.
pub struct HostileServer {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    requests: AtomicU64,
    applies: AtomicU64,
    trick: Mutex<Option<Trick>>,
    /// The set that was asked for last.
    set: Mutex<String>,
    /// Objects that were applied, for watches to undo.
    undone: Mutex<Vec<Value>>,
}

impl HostileServer {
    pub fn start(trick: Trick) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { trick: Mutex::new(Some(trick)), ..Shared::default() });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&served);
                std::thread::spawn(move || Connection { shared, stream }.serve());
            }
        });
        Self { port, shared }
    }

    /// Plays another trick from now on.
    pub fn play(&self, trick: Trick) {
        *lock(&self.shared.trick) = Some(trick);
    }

    /// Writes a kubeconfig for it. Plain HTTP is for a folder that is trusted.
    pub fn write_kubeconfig(&self, path: &Path) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "u", "user": {"token": "a-token"}}],
        });
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Requests that came, and of them applies.
    pub fn asked(&self) -> (u64, u64) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.applies.load(Ordering::Relaxed))
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // The listener looks up once more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Asked {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

impl Asked {
    fn value(&self, name: &str) -> Option<String> {
        let pair = self.query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")[..]))?;
        Some(pair.replace("%3D", "=").replace("%2F", "/"))
    }
}

struct Connection {
    shared: Arc<Shared>,
    stream: TcpStream,
}

type Sent = std::io::Result<()>;

impl Connection {
    fn serve(mut self) {
        let Ok(stream) = self.stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(asked) = read_request(&mut reader) {
            if self.shared.over.load(Ordering::Relaxed) || self.answer(&asked).is_err() {
                return;
            }
        }
    }

    fn trick(&self) -> Trick {
        lock(&self.shared.trick).unwrap_or(Trick::Forgetful)
    }

    fn send(&mut self, code: u16, body: &[u8]) -> Sent {
        self.send_with(code, "", body)
    }

    fn send_with(&mut self, code: u16, headers: &str, body: &[u8]) -> Sent {
        let head = format!(
            "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)
    }

    fn json(&mut self, code: u16, body: &Value) -> Sent {
        self.send(code, body.to_string().as_bytes())
    }

    /// An answer in pieces, as long as there are some and somebody listens.
    fn stream(&mut self, mut next: impl FnMut() -> Option<Vec<u8>>) -> Sent {
        self.stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        while !self.shared.over.load(Ordering::Relaxed) {
            let Some(piece) = next() else { return self.stream.write_all(b"0\r\n\r\n") };
            self.stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            self.stream.write_all(&piece)?;
            self.stream.write_all(b"\r\n")?;
        }
        Ok(())
    }

    fn answer(&mut self, asked: &Asked) -> Sent {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(selector) = asked.value("labelSelector")
            && let Some(set) = selector.strip_prefix(&format!("{PART_OF}=")[..])
        {
            set.clone_into(&mut lock(&self.shared.set));
        }
        match self.trick() {
            Trick::Nonsense => return self.nonsense(),
            Trick::Redirects => return self.send_with(302, &format!("Location: {}\r\n", asked.path), b""),
            Trick::Endless => return self.stream(|| Some(vec![b' '; 1 << 16])),
            Trick::Headers => {
                self.stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                while !self.shared.over.load(Ordering::Relaxed) {
                    self.stream.write_all(format!("X: {}\r\n", "x".repeat(4_000)).as_bytes())?;
                }
                return Ok(());
            }
            Trick::Slow => {
                let body = self.honest(asked).to_string().into_bytes();
                let mut bytes = body.into_iter();
                std::thread::sleep(Duration::from_secs(2));
                return self.stream(|| {
                    std::thread::sleep(Duration::from_millis(5));
                    bytes.next().map(|byte| vec![byte])
                });
            }
            _ => {}
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api" | "/apis") => self.discovery(&asked.path),
            ("GET", "/api/v1/namespaces/kube-system") => match self.trick() {
                Trick::Identity => self.send(200, &BOMB),
                _ => self.json(200, &self.honest(asked)),
            },
            _ if self.trick() == Trick::Errors => self.send(500, &BOMB),
            ("GET", _) if asked.value("watch").is_some() => self.watch(),
            ("GET", _) if asked.value("limit").is_some() => self.list(asked),
            ("GET", _) => self.json(404, &not_found()),
            _ => self.write(asked),
        }
    }

    /// What an honest server without any objects would answer.
    fn honest(&self, asked: &Asked) -> Value {
        match asked.path.as_str() {
            "/api" => group("", &core()),
            "/apis" => group("apps", &[kind("deployments", "Deployment", "apps")]),
            "/api/v1/namespaces/kube-system" => json!({"kind": "Namespace", "apiVersion": "v1",
                "metadata": {"name": "kube-system", "uid": "u-1", "resourceVersion": "1"}}),
            _ => {
                json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})
            }
        }
    }

    fn nonsense(&mut self) -> Sent {
        match fastrand::u8(..4) {
            0 => self.stream.write_all(&[0xff; 10_000]),
            1 => self.send(200, b"\x00\xff{]}"),
            2 => self.send(fastrand::u16(100..999), b"{\"kind\":\"Status\",\"details\":7}"),
            _ => self.send(200, b"[[[[[[[[[[[[[[[[[[[["),
        }
    }

    fn discovery(&mut self, path: &str) -> Sent {
        let mut kinds = core();
        match self.trick() {
            Trick::Kinds if path == "/api" => {
                kinds.extend((0..100_000).map(|n| kind(&format!("r{n}"), &format!("K{n}"), "")));
            }
            Trick::Groups if path == "/apis" => {
                let one = br#"{"metadata":{"name":"g"},"versions":[{}]},"#;
                let mut body = br#"{"kind":"APIGroupDiscoveryList","items":["#.to_vec();
                (0..1_000_000).for_each(|_| body.extend_from_slice(one));
                body.extend_from_slice(b"{}]}");
                return self.send(200, &body);
            }
            Trick::Compressed => return self.send_with(200, "Content-Encoding: gzip\r\n", &SPACES),
            _ => {}
        }
        let body = match path {
            "/api" => group("", &kinds),
            _ => group("apps", &[kind("deployments", "Deployment", "apps")]),
        };
        self.json(200, &body)
    }

    fn item(&self, name: &str, version: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": version,
            "labels": {PART_OF: lock(&self.shared.set).clone()},
            "managedFields": [{"manager": "m", "operation": "Apply", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:a": {}}}}]}})
    }

    fn list(&mut self, asked: &Asked) -> Sent {
        let page = |token: &str, items: Vec<Value>| {
            json!({"kind": "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": "1", "continue": token}, "items": items})
        };
        if asked.path.contains("/namespaces/fairlead-system/") {
            return match self.trick() {
                Trick::LedgerBomb => self.json(200, &page("", vec![ledger(0, &SPACES)])),
                Trick::Ledgers => {
                    let some: Vec<Value> = (0..500).map(|_| ledger(fastrand::u64(..), b"x")).collect();
                    self.json(200, &page("next", some))
                }
                _ => self.json(200, &page("", vec![])),
            };
        }
        let many = || (0..2_000).map(|_| self.item(&format!("n-{}", fastrand::u64(..)), "1")).collect();
        let body = match self.trick() {
            Trick::Lists => return self.send(200, &BOMB),
            Trick::Pages => page(&fastrand::u64(..).to_string(), many()),
            Trick::SamePage => page("same", vec![self.item("same", "1")]),
            Trick::Names => {
                let mut item = self.item(&"n".repeat(1 << 20), "1");
                item["metadata"]["annotations"] = json!({"a": "a".repeat(1 << 20)});
                page(&fastrand::u64(..).to_string(), vec![item.clone(), item])
            }
            Trick::Deep => {
                let text = page("", vec![self.item("deep", "1")]).to_string();
                let deep = format!("{}{{}}{}", r#"{"f:a":"#.repeat(10_000), "}".repeat(10_000));
                return self.send(200, text.replace(r#"{"f:a":{}}"#, &deep).as_bytes());
            }
            Trick::Drip => {
                let mut first = Some(br#"{"kind":"List","items":["#.to_vec());
                return self.stream(|| {
                    std::thread::sleep(Duration::from_millis(200));
                    first.take().or(Some(vec![b' ']))
                });
            }
            Trick::Versions => {
                let mut one = page("", vec![self.item("v", &self.version())]);
                one["metadata"]["resourceVersion"] = json!(self.version());
                one
            }
            _ => page("", vec![]),
        };
        self.json(200, &body)
    }

    fn version(&self) -> String {
        match fastrand::u8(..6) {
            0 => String::new(),
            1 => "a word".to_owned(),
            2 => "9".repeat(1 << 20),
            3 => "-1".to_owned(),
            4 => u64::MAX.to_string(),
            _ => fastrand::u64(..1_000).to_string(),
        }
    }

    fn watch(&mut self) -> Sent {
        let line = |kind: &str, object: &Value| {
            format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
        };
        let pause = || std::thread::sleep(Duration::from_millis(20));
        match self.trick() {
            Trick::WatchStorm => self.stream(|| None),
            Trick::Forgets => {
                let gone = json!({"kind": "Status", "code": 410, "reason": "Expired"});
                let mut once = Some(line("ERROR", &gone));
                self.stream(|| once.take())
            }
            Trick::Events => {
                let shared = Arc::clone(&self.shared);
                let (it, mut version) = (Self { shared, stream: self.stream.try_clone()? }, 1_000_000_u64);
                self.stream(|| {
                    let mut all = Vec::new();
                    for _ in 0..200 {
                        version += 1;
                        all.extend(line("MODIFIED", &it.item(&format!("e-{version}"), &version.to_string())));
                    }
                    Some(all)
                })
            }
            Trick::BigEvents => {
                let mut event = br#"{"type":"MODIFIED","object":{"metadata":{"name":"n","x":["#.to_vec();
                while event.len() < 15 << 20 {
                    event.extend_from_slice(br#"{"":0},"#);
                }
                event.extend_from_slice(b"0]}}}\n");
                self.stream(|| Some(event.clone()))
            }
            Trick::SlowEvents => {
                let mut first = Some(vec![b' '; 100_000]);
                self.stream(|| {
                    pause();
                    first.take().or(Some(vec![b' ']))
                })
            }
            Trick::Versions => {
                let shared = Arc::clone(&self.shared);
                let it = Self { shared, stream: self.stream.try_clone()? };
                self.stream(|| {
                    pause();
                    Some(line("MODIFIED", &it.item("v", &it.version())))
                })
            }
            Trick::Undoes => {
                let shared = Arc::clone(&self.shared);
                let mut heard = 0;
                self.stream(|| {
                    pause();
                    let undone = lock(&shared.undone);
                    let new: Vec<u8> =
                        undone[heard..].iter().flat_map(|object| line("DELETED", object)).collect();
                    heard = undone.len();
                    // White space between events is no event.
                    Some(if new.is_empty() { b" ".to_vec() } else { new })
                })
            }
            _ => {
                let bookmark = json!({"kind": "ConfigMap", "metadata": {"resourceVersion": "2"}});
                self.stream(|| {
                    std::thread::sleep(Duration::from_millis(500));
                    Some(line("BOOKMARK", &bookmark))
                })
            }
        }
    }

    /// A write succeeds, and nothing is kept of it.
    fn write(&mut self, asked: &Asked) -> Sent {
        let mut object: Value = serde_json::from_slice(&asked.body).unwrap_or_else(|_| json!({}));
        if !object.is_object() {
            object = json!({});
        }
        let version = 10 + self.shared.requests.load(Ordering::Relaxed);
        let metadata = json!({"uid": "u-9", "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z"});
        for (name, value) in metadata.as_object().into_iter().flatten() {
            object["metadata"][name] = value.clone();
        }
        if asked.method == "PATCH" {
            self.shared.applies.fetch_add(1, Ordering::Relaxed);
            let mut undone = object.clone();
            undone["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            lock(&self.shared.undone).push(undone);
        }
        let code = if asked.method == "POST" { 201 } else { 200 };
        self.json(code, &object)
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ');
    let (method, uri) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    Some(Asked { method, path: path.to_owned(), query: query.to_owned(), body })
}

fn kind(plural: &str, name: &str, of: &str) -> Value {
    json!({"resource": plural, "responseKind": {"group": of, "version": "v1", "kind": name},
        "scope": if plural == "namespaces" { "Cluster" } else { "Namespaced" }, "verbs": VERBS})
}

fn core() -> Vec<Value> {
    ["configmaps/ConfigMap", "namespaces/Namespace", "pods/Pod"]
        .iter()
        .filter_map(|both| both.split_once('/'))
        .map(|(plural, name)| kind(plural, name, ""))
        .collect()
}

fn group(name: &str, kinds: &[Value]) -> Value {
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
        {"metadata": {"name": name}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": kinds}]}]})
}

fn ledger(number: u64, packed: &[u8]) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": format!("fairlead-soak.f-{number}"), "namespace": "fairlead-system",
            "uid": format!("l-{number}"), "resourceVersion": "1",
            "labels": {"applyset.kubernetes.io/id": "x"},
            "annotations": {"fairlead.dev/digest": blake3::hash(packed).to_hex().to_string()}},
        "binaryData": {"ledger.json.gz": base64::engine::general_purpose::STANDARD.encode(packed)}})
}

fn not_found() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "not found", "details": {"kind": "configmaps", "name": "x"}})
}
