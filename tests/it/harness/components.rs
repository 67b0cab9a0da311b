//! The command lines of a control plane's components, and the files that they name.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Process;
use super::tools::{Program, Programs};
use super::{Context, Error, Result, User};

/// Where things stand in a control plane's folder.
#[derive(Clone, Debug)]
pub struct Layout {
    pub root: PathBuf,
}

impl Layout {
    pub fn certificate(&self) -> PathBuf {
        self.root.join("api-server/apiserver.crt")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.root.join("audit.log")
    }

    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join(format!("{user}.kubeconfig"))
    }

    fn audit_policy(&self) -> PathBuf {
        self.root.join("audit-policy.yaml")
    }

    fn tokens(&self) -> PathBuf {
        self.root.join("tokens.csv")
    }

    fn stages(&self) -> PathBuf {
        self.root.join("stages.yaml")
    }

    /// Writes what the components read when they start.
    pub fn write(&self, users: &[User]) -> Result<()> {
        let tokens: String = users.iter().map(User::token_line).collect();
        fs::write(self.tokens(), tokens).context("writing the tokens")?;
        fs::write(self.audit_policy(), include_str!("audit-policy.yaml")).context("writing the audit policy")
    }
}

/// Removes the folder if we don't live to do that: nothing runs at the end of a process that is
/// killed, and statics are not dropped at the end of any.
pub fn janitor(layout: &Layout) -> Result<Process> {
    const SCRIPT: &str = r#"
        cat >/dev/null
        cd /
        for attempt in 1 2 3 4 5; do # the servers are ending too, and may still write
            rm -rf "$1" && exit
            sleep 1
        done"#;
    let sh = Program { path: "sh".into(), ends_with_stdin: true };
    let args = ["-c".into(), SCRIPT.into(), "janitor".into(), layout.root.clone().into_os_string()];
    Process::spawn("janitor", &sh, args, &layout.root)
}

pub fn etcd(programs: &Programs, layout: &Layout, port: u16) -> Result<Process> {
    let url = format!("http://127.0.0.1:{port}");
    // It has no peers; and port 0 means any.
    let peers = "http://127.0.0.1:0";
    let args = [
        flag("--data-dir", layout.root.join("etcd")),
        flag("--listen-client-urls", &url),
        flag("--advertise-client-urls", &url),
        flag("--listen-peer-urls", peers),
        flag("--initial-advertise-peer-urls", peers),
        flag("--initial-cluster", format!("default={peers}")),
        // Nothing here has to survive a power cut.
        "--unsafe-no-fsync".into(),
    ];
    Process::spawn("etcd", &programs.etcd, args, &layout.root)
}

pub fn api_server(programs: &Programs, layout: &Layout, port: u16, etcd: u16) -> Result<Process> {
    let certificates = layout.root.join("api-server");
    // The server makes one for its certificate; it will do for service accounts.
    let key = certificates.join("apiserver.key");
    let args = [
        flag("--etcd-servers", format!("http://127.0.0.1:{etcd}")),
        flag("--secure-port", port.to_string()),
        flag("--bind-address", "127.0.0.1"),
        // The machine may have no other address; and nobody reads the endpoints that would be
        // written, which must not be on loopback.
        flag("--advertise-address", "127.0.0.1"),
        flag("--endpoint-reconciler-type", "none"),
        flag("--cert-dir", certificates),
        flag("--service-account-issuer", "https://kubernetes.default.svc"),
        flag("--service-account-key-file", &key),
        flag("--service-account-signing-key-file", &key),
        flag("--token-auth-file", layout.tokens()),
        flag("--authorization-mode", "RBAC"),
        flag("--service-cluster-ip-range", "10.0.0.0/16"),
        // Pods need no token here, and should not have to wait for their service account.
        flag("--disable-admission-plugins", "ServiceAccount"),
        flag("--allow-privileged", "true"),
        flag("--audit-policy-file", layout.audit_policy()),
        flag("--audit-log-path", layout.audit_log()),
        // In MB. A log that rotates would lose what a test counts.
        flag("--audit-log-maxsize", "10000"),
    ];
    Process::spawn("kube-apiserver", &programs.api_server, args, &layout.root)
}

/// What makes workloads progress: controllers, the scheduler and a kubelet that only pretends.
pub fn controllers(programs: &Programs, layout: &Layout) -> Result<Vec<Process>> {
    fs::write(layout.stages(), stages(&programs.kwok_stages)?).context("writing kwok's stages")?;
    let kubeconfig = flag("--kubeconfig", layout.kubeconfig("admin"));
    let common = [
        kubeconfig.clone(),
        flag("--leader-elect", "false"),
        flag("--secure-port", "0"),
        "--authentication-skip-lookup".into(),
        // The default slows a test down that makes many objects.
        flag("--kube-api-qps", "200"),
        flag("--kube-api-burst", "400"),
    ];
    let kwok = [
        kubeconfig,
        "--manage-all-nodes".into(),
        flag("--config", layout.stages()),
        flag("--node-ip", "127.0.0.1"),
        // Without a lease the node is not ready after 40 s.
        flag("--node-lease-duration-seconds", "40"),
    ];
    let root = &layout.root;
    Ok(vec![
        Process::spawn("kube-controller-manager", &programs.controller_manager, common.clone(), root)?,
        Process::spawn("kube-scheduler", &programs.scheduler, common, root)?,
        Process::spawn("kwok", &programs.kwok, kwok, root)?,
    ])
}

/// kwok's own stages, which make everything ready at once, and ours, which makes pods fail.
fn stages(program: &Program) -> Result<String> {
    let output =
        Command::new(&program.path).stdin(Stdio::null()).output().context("asking for kwok's stages")?;
    if !output.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&output.stderr)));
    }
    Ok(format!("{}\n---\n{}", String::from_utf8(output.stdout)?, include_str!("stages-fail.yaml")))
}

fn flag(name: &str, value: impl AsRef<Path>) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(value.as_ref());
    flag
}
