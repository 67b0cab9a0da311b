//! The walk-through of the README, as a new user runs it, but with the clusters of this test.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::e2e::Kubeconfigs;
use crate::harness::{ControlPlane, Options, tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_leads_through_all_of_it_and_leaves_nothing_behind() {
    let eu = ControlPlane::start("walk-eu", Options::default()).await.unwrap();
    let us = ControlPlane::start("walk-us", Options::default()).await.unwrap();
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", eu.kubeconfig()), ("edge-005", us.kubeconfig())]);
    let folder = tempfile::tempdir().unwrap();
    let (clusters, tmp) = (kubeconfigs.path().to_owned(), folder.path().to_owned());
    let output = tokio::task::spawn_blocking(move || walk(&clusters, &tmp)).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    let mut rest = &*text;
    for line in [
        "0 errors, 0 warnings",
        "edge-002", // without a cluster
        "offline",
        r#""store":"edge-005""#,
        "$ fairlead plan --repo fleet --from HEAD~1 --to HEAD",
        "shop/web:1.5.0",
        "Only in edge-001",
        "== A bad change",
        "failed",
        "$ git -C fleet revert",
        "The image is registry.example.com/shop/web:1.4.0",
        "deployment.apps/web scaled",
        "It is put right",
        "the very versions that they were",
        "That was all of it",
    ] {
        let (_, after) =
            rest.split_once(line).unwrap_or_else(|| panic!("no {line:?} in its turn in\n{text}"));
        rest = after;
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(kubeconfigs: &Path, tmp: &Path) -> Output {
    Command::new("examples/walkthrough/run")
        .args(["--fairlead", env!("CARGO_BIN_EXE_fairlead"), "--kubeconfigs"])
        .arg(kubeconfigs)
        .arg("--kubectl")
        .arg(tool("kube").unwrap().join("kubectl"))
        .env("TMPDIR", tmp)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn what_it_does_not_know_is_refused() {
    for (arguments, wanted) in [
        (&["--stray"][..], "what is --stray?"),
        (&["--kubectl"], "--kubectl wants a value"),
        (&["--kubeconfigs", "/no/such/folder"], "there is no /no/such/folder"),
    ] {
        let output = Command::new("examples/walkthrough/run").args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(wanted), "{errors}");
    }
}
