//! Commits that take long to read: they hold up nothing, and what is pushed on top of them is read at once.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{FLEET, PROFILE, SOON, TARGET, config_map, runs};
use crate::world::daemon::Daemon;
use crate::world::eventually;
use crate::world::repository::FleetRepo;

const LAYERS: usize = 20;

/// A fleet of one simulated target.
fn fleet(instance: &str, settings: &str) -> (FleetRepo, Daemon) {
    let repo = FleetRepo::empty();
    repo.write("profiles/app/profile.yaml", PROFILE)
        .write("clusters/edge-001.yaml", TARGET)
        .write("fleets/retail.yaml", FLEET)
        .write("profiles/app/app/settings.yaml", &config_map("default", "settings", "1"));
    let daemon = Daemon::with(instance, &repo.url(), "simulated: {readyAfter: 0s}");
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text.replace("  poll: 1s\n", &format!("  poll: 1s\n{settings}"))).unwrap();
    (repo, daemon)
}

/// Each of its expressions, and each layer, may be; together they take minutes.
fn slow(repo: &FleetRepo) -> String {
    let numbers = vec!["1"; 300].join(",");
    let expression = "${{ string(var.l.all(x, var.l.all(y, x + y > 0))) + cluster.name }}";
    let variable = format!("properties: {{l: {{type: array, default: [{numbers}]}}, ");
    let mut profile = PROFILE.replace("properties: {", &variable);
    for layer in 0..LAYERS {
        let data: String = (0..20).map(|n| format!("  k{n}: '{expression}'\n")).collect();
        let manifest = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: slow-{layer}, namespace: default}}\ndata:\n{data}"
        );
        repo.write(&format!("profiles/app/slow-{layer}/a.yaml"), &manifest);
        profile += &format!("  - {{name: slow-{layer}, type: addon, manifests: {{path: slow-{layer}}}}}\n");
    }
    repo.write("profiles/app/profile.yaml", &profile);
    repo.push("Slow")
}

#[tokio::test]
async fn a_newer_commit_is_read_at_once_whatever_is_being_read() {
    let (repo, mut daemon) = fleet("reading-newer", "");
    let first = repo.push("First");
    daemon.start();
    daemon.until("the first commit", SOON, |status| runs(status, &first, &["edge-001"])).await;
    let slow = slow(&repo);
    eventually("the slow commit is observed", SOON, async || {
        let log = daemon.log();
        if log.contains(&slow) { Ok(()) } else { Err(log) }
    })
    .await;
    // It is being read by now, and would be for minutes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let revert = repo.revert(&slow);
    let status = daemon.until("the revert", SOON, |status| runs(status, &revert, &["edge-001"])).await;
    assert_eq!(status["repository"]["lastError"], Value::Null, "{status:#}");
    assert!(daemon.log().contains("the reading was stopped for a newer commit"), "{}", daemon.log());
}

#[tokio::test]
async fn a_commit_that_takes_too_long_is_unreadable_and_changes_nothing() {
    let (repo, mut daemon) = fleet("reading-deadline", "  readTimeout: 2s\n");
    let first = repo.push("First");
    daemon.start();
    daemon.until("the first commit", SOON, |status| runs(status, &first, &["edge-001"])).await;
    assert_eq!(daemon.ask("GET", "/readyz", None).unwrap().0, 200);
    let slow = slow(&repo);
    let says = format!("commit {} is unreadable: reading it took longer than 2 s", &slow[..7]);
    let told = |status: &Value| {
        status["repository"]["lastError"].as_str().is_some_and(|error| error.starts_with(&says))
    };
    let status = daemon.until("it is unreadable", SOON, told).await;
    assert!(runs(&status, &first, &["edge-001"]), "nothing of it was carried out: {status:#}");
    let (code, ready) = daemon.ask("GET", "/readyz", None).unwrap();
    assert_eq!(code, 503, "{ready:#}");
    let reason = &ready["reasons"][0];
    assert!(
        reason["code"] == "head-unreadable" && reason["message"].to_string().contains(&says),
        "{ready:#}"
    );
    let printed = daemon.command(&["status"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("is unreadable"), "{printed}");
    // It is not read again and again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(daemon.log().matches("is unreadable").count(), 1, "{}", daemon.log());
    let revert = repo.revert(&slow);
    daemon.until("the revert", SOON, |status| runs(status, &revert, &["edge-001"])).await;
    assert_eq!(daemon.ask("GET", "/readyz", None).unwrap().0, 200);
}
