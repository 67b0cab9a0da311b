//! A Kubernetes control plane of a test's own.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tempfile::TempDir;

use super::audit::Audit;
use super::components::{self, Layout};
use super::kubeconfig::{self, Endpoint, User};
use super::port::Port;
use super::process::Process;
use super::tools::Programs;
use super::{Context, Error, Result, node, wait_for};

/// Seconds on an idle machine; test machines are not idle.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a client from [`ControlPlane::client`] calls itself.
const AGENT: &str = "fairlead-tests";

/// What a control plane should have.
#[derive(Clone, Debug)]
pub struct Options {
    /// Controllers, scheduler and a fake node. Without them, objects are kept and nothing happens
    /// to them: enough for many tests, and less to start.
    pub controllers: bool,
    /// Who may talk to the server, besides the administrator.
    pub users: Vec<User>,
}

impl Default for Options {
    fn default() -> Self {
        Self { controllers: true, users: Vec::new() }
    }
}

/// A running control plane. Dropping it kills its servers and removes its folder.
pub struct ControlPlane {
    name: String,
    users: Vec<User>,
    programs: Programs,
    layout: Layout,
    port: Port,
    etcd_port: Port,
    /// None while a test has stopped it.
    api_server: Option<Process>,
    paused: bool,
    controllers: Vec<Process>,
    etcd: Process,
    janitor: Process,
    /// After the processes, for fields are dropped in their order.
    _folder: TempDir,
}

/// # Starting, and asking
impl ControlPlane {
    /// Starts a control plane, and returns when it is ready for objects (with controllers: for
    /// pods).
    pub async fn start(name: &str, options: Options) -> Result<Self> {
        Self::begin(name, options).await.context(format!("starting control plane {name}"))
    }

    async fn begin(name: &str, options: Options) -> Result<Self> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new().prefix(&format!("fairlead-{name}-")).tempdir()?;
        let layout = Layout { root: folder.path().to_owned() };
        let janitor = components::janitor(&layout)?;
        let mut users = options.users;
        users.push(User::admin());
        layout.write(&users)?;

        let (port, etcd_port) = (Port::lease()?, Port::lease()?);
        let etcd = components::etcd(&programs, &layout, etcd_port.number())?;
        let mut plane = Self {
            name: name.to_owned(),
            users,
            programs,
            layout,
            port,
            etcd_port,
            api_server: None,
            paused: false,
            controllers: Vec::new(),
            etcd,
            janitor,
            _folder: folder,
        };
        plane.start_api_server().await?;
        if options.controllers {
            plane.start_controllers().await?;
        }
        Ok(plane)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.number())
    }

    /// The administrator's; it needs no other file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig("admin")
    }

    /// That of one of [`Options::users`].
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf> {
        if self.users.iter().any(|one| one.name == user) {
            return Ok(self.layout.kubeconfig(user));
        }
        Err(Error::new(format!("{} has no user {user}: see Options", self.name)))
    }

    /// That of whoever has this token, valid or not; `name` is the file's.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.layout.root.join(format!("{name}.token.kubeconfig"));
        self.endpoint()?.write_kubeconfig(name, token, &path)?;
        Ok(path)
    }

    /// A token for a service account, which is made if it is missing: a user for tests that share
    /// a control plane. It is `system:serviceaccount:<namespace>:<name>`.
    pub async fn mint_token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        accounts.patch(name, &PatchParams::apply(AGENT), &Patch::Apply(account)).await?;
        let request = TokenRequest::default();
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        answer.status.map(|status| status.token).ok_or_else(|| Error::new("the server gave no token"))
    }

    /// A client for the caller's runtime, with all rights.
    pub async fn client(&self) -> Result<Client> {
        self.client_as(AGENT).await
    }

    /// The same under another name, for the audit log.
    pub async fn client_as(&self, agent: &str) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig(), agent).await
    }

    /// Makes a namespace: on a shared control plane, a test's own.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespaces: Api<Namespace> = Api::all(self.client().await?);
        namespaces.patch(name, &PatchParams::apply(AGENT), &Patch::Apply(namespace)).await?;
        Ok(())
    }

    /// Runs kubectl as the administrator. Returns what it printed; fails, with its errors, if it
    /// fails.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with_input(args, "").await
    }

    /// The same with something on its standard input: `&["apply", "-f", "-"]`.
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(&self.programs.kubectl.path);
        command
            .args(args)
            .arg("--request-timeout=60s")
            .env("KUBECONFIG", self.kubeconfig())
            // Nothing of the person who runs the tests: no cache, no preferences.
            .env("KUBECACHEDIR", self.layout.root.join("kubectl-cache"))
            .env("KUBERC", "off");
        let doing = format!("kubectl {}", args.join(" "));
        let input = input.to_owned();
        // Elsewhere: the test may have tasks of its own that kubectl's request waits for.
        tokio::task::spawn_blocking(move || run(&mut command, &input)).await?.context(doing)
    }

    /// What the API server was asked.
    pub fn audit(&self) -> Audit {
        let answers = self.api_server.is_some() && !self.paused;
        Audit::new(self.layout.audit_log(), answers.then(|| self.kubeconfig()))
    }

    /// Its servers, and what watches over its folder.
    pub fn pids(&self) -> Vec<u32> {
        let others = self.controllers.iter().chain([&self.etcd, &self.janitor]);
        self.api_server.iter().chain(others).map(Process::pid).collect()
    }

    pub fn folder(&self) -> &Path {
        &self.layout.root
    }
}

/// # Faults
impl ControlPlane {
    /// Kills the API server: connections are refused.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
        self.paused = false;
    }

    /// Starts it again, on the same port and with the same data. Does nothing if it runs.
    pub async fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_some() {
            return Ok(());
        }
        let (port, etcd) = (self.port.number(), self.etcd_port.number());
        self.api_server = Some(components::api_server(&self.programs, &self.layout, port, etcd)?);
        // It listens when it has its certificate.
        self.wait("the API server's listening", async |_| {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(()))
        })
        .await?;
        let endpoint = self.endpoint()?;
        for user in &self.users {
            endpoint.write_kubeconfig(&user.name, &user.token(), &self.layout.kubeconfig(&user.name))?;
        }
        self.wait("the API server's being ready", async |plane| {
            let ready = http::Request::get("/readyz").body(Vec::new())?;
            Ok(plane.client().await?.request_text(ready).await.ok().map(drop))
        })
        .await
    }

    /// Stops the API server where it stands: connections stay open, new ones are made, and nothing
    /// is answered.
    pub fn pause(&mut self) -> Result<()> {
        self.running()?.pause()?;
        self.paused = true;
        Ok(())
    }

    pub fn resume(&mut self) -> Result<()> {
        self.running()?.resume()?;
        self.paused = false;
        Ok(())
    }

    fn running(&self) -> Result<&Process> {
        self.api_server.as_ref().ok_or_else(|| Error::new(format!("{}'s API server is stopped", self.name)))
    }
}

impl ControlPlane {
    async fn start_controllers(&mut self) -> Result<()> {
        let client = self.client().await?;
        node::add(&client).await.context("adding the fake node")?;
        self.controllers = components::controllers(&self.programs, &self.layout)?;
        self.wait("the fake node's being ready", async |_| Ok(node::ready(&client).await?.then_some(())))
            .await
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let path = self.layout.certificate();
        let certificate = std::fs::read(&path).context(format!("reading {}", path.display()))?;
        Ok(Endpoint { cluster: self.name.clone(), url: self.url(), certificate })
    }

    /// Waits for a condition, as long as all processes run; if it fails, says how they are.
    async fn wait(
        &mut self,
        what: &str,
        mut poll: impl AsyncFnMut(&Self) -> Result<Option<()>>,
    ) -> Result<()> {
        let plane = &mut *self;
        let waited = wait_for(what, DEADLINE, async || {
            for process in plane.api_server.iter_mut().chain(&mut plane.controllers).chain([&mut plane.etcd])
            {
                process.check()?;
            }
            poll(plane).await
        })
        .await;
        waited.map_err(|error| {
            let tails: Vec<String> =
                self.api_server.iter().chain(&self.controllers).map(Process::tail).collect();
            Error::new(format!("{error}\n{}", tails.join("\n")))
        })
    }
}

fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // kubectl may end without reading it all, with an error that says more than ours.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{}: {}", output.status, errors.trim_end())));
    }
    Ok(String::from_utf8(output.stdout)?)
}
