//! A real Gitea, over https, with one user who may do all and one repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Http};
use crate::harness::{Error, Port, Process, Program, eventually, tool};

/// Seconds on a machine with nothing else to do.
const UP_WITHIN: Duration = Duration::from_secs(120);
pub const OWNER: &str = "platform";
const PASSWORD: &str = "correct horse battery staple";

/// Dropping it kills the server and removes everything.
pub struct Gitea {
    /// None while a test has stopped it.
    process: Option<Process>,
    program: Program,
    port: Port,
    http: Http,
    token: String,
    folder: TempDir,
}

impl Gitea {
    pub async fn start() -> Self {
        let built = tokio::task::spawn_blocking(|| tool("gitea").unwrap()).await.unwrap();
        let folder = tempfile::Builder::new().prefix("fairlead-gitea-").tempdir().unwrap();
        let port = Port::lease().unwrap();
        certificates(folder.path());
        let http = Http::trusting(Some(&folder.path().join("ca.pem")));
        fs::write(folder.path().join("app.ini"), settings(folder.path(), &built, port.number())).unwrap();
        let program = Program { path: built.join("gitea"), ends_with_stdin: false };
        let mut gitea = Self { process: None, program, port, http, token: String::new(), folder };
        gitea.resume().await;
        let admin = ["admin", "user", "create", "--admin", "--username", OWNER, "--password", PASSWORD];
        gitea.run(
            &[&admin[..], &["--email", "platform@example.com", "--must-change-password=false"]].concat(),
        );
        gitea.token = gitea.new_token(OWNER, PASSWORD).await;
        gitea
    }

    /// Starts it again where it was stopped.
    pub async fn resume(&mut self) {
        let config = self.folder.path().join("app.ini");
        let args = ["web".into(), "--config".into(), config.into_os_string()];
        self.process = Some(Process::spawn("gitea", &self.program, args, self.folder.path()).unwrap());
        let health = format!("{}/api/healthz", self.url());
        let up = eventually("Gitea is up", UP_WITHIN, async || {
            if let Err(error) = self.process.as_mut().unwrap().check() {
                panic!("{error}");
            }
            let answer = self.http.send("GET", &health, &[], "").await.map_err(Error::new)?;
            if answer.status == 200 { Ok(true) } else { Err(Error::new(answer.body)) }
        });
        up.await.unwrap();
    }

    /// SIGKILL.
    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.number())
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    fn run(&self, args: &[&str]) -> Output {
        let config = self.folder.path().join("app.ini");
        let output =
            Command::new(&self.program.path).args(args).arg("--config").arg(config).output().unwrap();
        assert!(output.status.success(), "gitea {args:?}: {}", String::from_utf8_lossy(&output.stdout));
        output
    }

    pub async fn new_token(&self, user: &str, password: &str) -> String {
        let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let url = format!("{}/api/v1/users/{user}/tokens", self.url());
        let scopes = ["write:repository", "write:issue", "read:user", "write:user"];
        let body = json!({"name": format!("test-{}", fastrand::u32(..)), "scopes": scopes}).to_string();
        let headers = [("authorization", login.as_str()), ("content-type", "application/json")];
        let answer = self.http.send("POST", &url, &headers, body).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["sha1"].as_str().unwrap().to_owned()
    }

    /// A user who may do nothing in particular.
    pub async fn add_user(&self, name: &str) -> String {
        let create = ["admin", "user", "create", "--username", name, "--password", PASSWORD];
        let email = format!("{name}@example.com");
        self.run(&[&create[..], &["--email", &email, "--must-change-password=false"]].concat());
        self.new_token(name, PASSWORD).await
    }

    /// Asks the API as the owner; `path` is below `/api/v1`.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> Result<Answer, String> {
        self.api_as(&self.token, method, path, body).await
    }

    pub async fn api_as(&self, token: &str, method: &str, path: &str, body: Value) -> Result<Answer, String> {
        let url = format!("{}/api/v1{path}", self.url());
        let authorization = format!("token {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.http.send(method, &url, &headers, body).await
    }

    /// Asks, and wants this status.
    pub async fn must(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let answer = self.api(method, path, body).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.must("GET", path, Value::Null, 200).await
    }
}

/// A certificate for 127.0.0.1, and the authority that signed it.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate with the issuer's name for the issuer's own.
    params.distinguished_name.push(DnType::CommonName, "Fairlead's tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn settings(folder: &Path, built: &Path, port: u16) -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let (folder, built, user) = (folder.display(), built.display(), user.trim());
    let unsafe_root = user == "root";
    format!(
        "\
APP_NAME = Fairlead's tests
RUN_MODE = prod
RUN_USER = {user}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = {unsafe_root}
WORK_PATH = {folder}
[server]
PROTOCOL = https
CERT_FILE = {folder}/cert.pem
KEY_FILE = {folder}/key.pem
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = https://127.0.0.1:{port}/
STATIC_ROOT_PATH = {built}
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2
[webhook]
ALLOWED_HOST_LIST = loopback
[log]
LEVEL = Warn
[session]
PROVIDER = memory
[cron]
ENABLED = false
"
    )
}
