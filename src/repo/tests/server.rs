//! A smart-HTTP server over TLS on loopback: `git http-backend` behind a small CGI bridge.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How the server answers.
#[derive(Clone)]
pub enum Manner {
    /// Serves the repositories in the folder to who brings this token.
    Serve { root: PathBuf, token: Arc<Mutex<String>> },
    /// Sends everyone elsewhere.
    Redirect { to: String },
    /// Answers everything with a status.
    Status(u16),
    /// Takes the request and says nothing.
    Silent,
}

pub struct Server {
    pub port: u16,
    pub ca: PathBuf,
    /// Request lines, each with whether it carried credentials.
    pub seen: Arc<Mutex<Vec<(String, bool)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server whose certificate, for 127.0.0.1 and localhost, is its own authority's.
    pub fn start(dir: &Path, manner: Manner) -> Self {
        Self::start_with(dir, manner, false)
    }

    /// The same; `authority`: its certificate may itself sign others, as `openssl req -x509` makes them.
    pub fn start_with(dir: &Path, manner: Manner, authority: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut params =
            rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        // An authority is found by its name.
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("server {port}"));
        if authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let ca = dir.join(format!("ca-{port}.pem"));
        std::fs::write(&ca, cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap());
        let (seen, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, ended) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let (config, manner, log) = (Arc::clone(&config), manner.clone(), Arc::clone(&log));
                // A client that goes away ends its connection, and that thread.
                std::thread::spawn(move || stream.and_then(|stream| answer(stream, config, &manner, &log)));
            }
        });
        Self { port, ca, seen, stop, thread: Some(thread) }
    }

    pub fn url(&self, repository: &str) -> String {
        format!("https://127.0.0.1:{}/{repository}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().map(JoinHandle::join);
    }
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header)?;
            match header.trim_end().split_once(": ") {
                Some((key, value)) => headers.push((key.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut request = Self { line: line.trim_end().to_owned(), headers, body: Vec::new() };
        if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
            request.body = vec![0; length];
            stream.read_exact(&mut request.body)?;
        } else if request.header("transfer-encoding").is_some() {
            request.body = chunked(stream)?;
        }
        Ok(Some(request))
    }
}

fn chunked(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        stream.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let at = body.len();
        body.resize(at + size, 0);
        stream.read_exact(&mut body[at..])?;
        stream.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    manner: &Manner,
    log: &Mutex<Vec<(String, bool)>>,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = Request::read(&mut stream)? {
        log.lock().unwrap().push((request.line.clone(), request.header("authorization").is_some()));
        let response = match manner {
            Manner::Serve { root, token } => serve(&request, root, &token.lock().unwrap())?,
            Manner::Redirect { to } => {
                let target = request.line.split(' ').nth(1).unwrap_or_default();
                head("302 Found", &format!("Location: {to}{target}\r\n"), b"")
            }
            Manner::Status(status) => head(&format!("{status} X"), "", b"\x1b[31mfrom the server\n"),
            Manner::Silent => {
                // Until the client has had enough.
                let _ = stream.read(&mut [0; 1]);
                return Ok(());
            }
        };
        stream.get_mut().write_all(&response)?;
    }
    Ok(())
}

fn head(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

fn serve(request: &Request, root: &Path, token: &str) -> std::io::Result<Vec<u8>> {
    use base64::Engine;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
    if request.header("authorization") != Some(&format!("Basic {login}")) {
        return Ok(head("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b""));
    }
    let mut words = request.line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("REMOTE_USER", "x-access-token")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = backend.stdin.take().unwrap();
    let body = request.body.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = backend.wait_with_output()?.stdout;
    let _ = writer.join();
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(output.len().saturating_sub(4));
    let headers = String::from_utf8_lossy(&output[..end]).into_owned();
    let status =
        headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let kept: String =
        headers.lines().filter(|l| !l.starts_with("Status:")).map(|l| format!("{l}\r\n")).collect();
    Ok(head(&status, &kept, &output[end + 4..]))
}
