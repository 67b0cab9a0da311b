//! `fairlead sim`: simulated clusters in a process of their own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use fairlead_cluster::KubeconfigFolder;
use fairlead_core::model::assignment::FactBody;

use crate::cluster::world::World;
use crate::harness::{Result, kubeconfig_client};

/// The process; it does not outlive a test that fails.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts it, and returns when it is ready.
    pub(super) fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command.arg("sim").arg("--dir").arg(folder).args(args).stdout(Stdio::piped());
        let mut process = Self(command.spawn().unwrap());
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let said: Vec<String> = lines.map_while(std::result::Result::ok).take(3).collect();
        assert!(said.iter().any(|line| line.contains("Ctrl-C ends")), "{said:?}");
        process
    }

    fn stop(mut self) -> std::process::ExitStatus {
        Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        self.0.wait().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_reaches_a_cluster_of_another_process_by_its_kubeconfig() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeconfigs = folder.path().join("kubeconfigs");
    let faults = folder.path().join("faults.yaml");
    std::fs::write(
        &faults,
        "rules:\n- {fault: lostReply, clusters: [edge-001], verbs: [apply], times: 2}\n",
    )?;
    let args = ["--clusters", "3", "--latency", "2ms", "--ready-after", "100ms", "--faults"];
    let args = args.into_iter().chain(faults.to_str()).collect::<Vec<_>>();
    let process = Process::start(&kubeconfigs, &args);
    assert_eq!(std::fs::read_dir(&kubeconfigs)?.count(), 3);

    let client = kubeconfig_client(&kubeconfigs.join("edge-001.yaml"), "tests").await?;
    let connector = Arc::new(KubeconfigFolder::new(&kubeconfigs, false));
    let mut world = World::over(client, connector, "process").await?;
    let objects: Vec<_> = (0..10).map(|n| world.cm(&format!("map-{n}"), "a")).collect();
    world.converge(objects).await;
    assert_eq!(world.map("map-9").await?.unwrap()["data"]["key"], "a");
    // Its neighbour is another cluster.
    let other = kubeconfig_client(&kubeconfigs.join("edge-002.yaml"), "tests").await?;
    let spaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(other);
    assert!(spaces.get_opt("process").await?.is_none() && spaces.get_opt("default").await?.is_some());

    assert!(process.stop().success());
    assert_eq!(std::fs::read_dir(&kubeconfigs)?.count(), 0);
    world.until("offline", |fact| matches!(fact, FactBody::Offline { .. })).await;
    Ok(())
}

#[test]
fn what_cannot_be_served_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults.yaml");
    std::fs::write(&faults, "rules:\n- {fault: lostreply}\n").unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        let output = command.arg("sim").arg("--dir").arg(folder.path()).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["--faults", faults.to_str().unwrap()]);
    assert!(code == Some(2) && text.contains("faults.yaml:2") && text.contains("lostReply"), "{text}");
    let (code, text) = run(&["--listen", "0.0.0.0:0"]);
    assert!(code == Some(3) && text.contains("loopback"), "{text}");
    let (code, text) = run(&["--latency", "soon"]);
    assert!(code == Some(2) && text.contains("200ms"), "{text}");
}
