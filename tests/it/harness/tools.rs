//! Where the programs of a control plane come from.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::{Context, Error, Result};

/// What the server calls itself. What a test finds out holds for this minor version.
const KUBERNETES: &str = "v1.37.";
/// etcd's minor version is free: only the API server talks to it.
const ETCD: &str = "3.";

/// A program, and whether it keeps to our agreement to end with its standard input.
#[derive(Clone)]
pub struct Program {
    pub path: PathBuf,
    pub ends_with_stdin: bool,
}

/// The programs of a control plane.
#[derive(Clone)]
pub struct Programs {
    pub etcd: Program,
    pub api_server: Program,
    pub controller_manager: Program,
    pub scheduler: Program,
    pub kwok: Program,
    pub kwok_stages: Program,
    pub kubectl: Program,
}

impl Programs {
    /// Those that all control planes of this process use.
    pub fn find() -> Result<Self> {
        static FOUND: Mutex<Option<Programs>> = Mutex::new(None);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(programs) = &*found {
            return Ok(programs.clone());
        }
        Ok(found.insert(Self::search()?).clone())
    }

    /// Our own build, but what `KUBEBUILDER_ASSETS` offers in the right version.
    #[allow(clippy::disallowed_methods, reason = "KUBEBUILDER_ASSETS is how test hosts say it")]
    fn search() -> Result<Self> {
        let built = tool("kube")?;
        let ours = |name: &str| Program { path: built.join(name), ends_with_stdin: true };
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let either = |name: &str, version: &[&str], wanted: &str| {
            let given = assets.as_deref().and_then(|folder| asset(folder, name, version, wanted));
            given.unwrap_or_else(|| ours(name))
        };
        Ok(Self {
            etcd: either("etcd", &["--version"], ETCD),
            api_server: either("kube-apiserver", &["--version"], KUBERNETES),
            kubectl: either("kubectl", &["version", "--client"], KUBERNETES),
            controller_manager: ours("kube-controller-manager"),
            scheduler: ours("kube-scheduler"),
            kwok: ours("kwok"),
            kwok_stages: ours("kwok-stages"),
        })
    }
}

/// A program from the folder of `setup-envtest`, if it says that it has the version we want.
fn asset(folder: &Path, name: &str, version: &[&str], wanted: &str) -> Option<Program> {
    let path = folder.join(name);
    let said = match Command::new(&path).args(version).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    if said.split_whitespace().any(|word| word.starts_with(wanted)) {
        return Some(Program { path, ends_with_stdin: false });
    }
    let said = said.lines().next().unwrap_or_default();
    // Not eprintln, which shows nothing while tests pass.
    let _ = writeln!(io::stderr(), "not using {} (wanted {wanted}x): {said}", path.display());
    None
}

/// The folder of a test tool, which is built first where it is missing: `tests/harness/tool`.
///
/// Blocks, for minutes where it has to build, and says so on standard error.
pub fn tool(name: &str) -> Result<PathBuf> {
    static FOUND: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    // Held during the build on purpose: other tests of this process wait for it.
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = found.get(name) {
        return Ok(folder.clone());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/tool");
    let output = Command::new(&script)
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .context(format!("running {}", script.display()))?;
    if !output.status.success() {
        let status = output.status;
        return Err(Error::new(format!("{} {name}: {status}; see above", script.display())));
    }
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    found.insert(name.to_owned(), folder.clone());
    Ok(folder)
}
