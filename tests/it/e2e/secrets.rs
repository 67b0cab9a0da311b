//! What must not be seen, and credentials.

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Kubeconfigs, SOON, Small, config_map, target};
use crate::harness::shared;
use crate::world::daemon::Daemon;
use crate::world::eventually;

const CANARY: &str = "canary-7f3a91";
const SECOND: &str = "canary-second-55c0";

/// Refuses Secrets that have an entry `bad`, and tells what stands in them.
const TELLTALE: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: telltale}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}]
  validations:
  - expression: \"!('bad' in object.data)\"
    messageExpression: \"'the password is ' + string(object.data.password)\"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: telltale}
spec:
  policyName: telltale
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: canary}}}
";

fn secret(namespace: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: password, namespace: {namespace}}}\nstringData: {{password: {value}}}\n"
    )
}

/// The values in the forms in which they may be seen.
fn forms() -> Vec<String> {
    [CANARY, SECOND].iter().flat_map(|value| [(*value).to_owned(), BASE64_STANDARD.encode(value)]).collect()
}

fn assert_clean(place: &str, bytes: &[u8]) {
    for form in forms() {
        let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(!found, "{place} has {form}:\n{}", String::from_utf8_lossy(bytes));
    }
}

/// `GET` on the daemon's socket.
async fn get(daemon: &Daemon, path: &str) -> String {
    let state = daemon.config().parent().unwrap().join("state");
    let mut found = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let socket = found.find(|path| path.extension().is_some_and(|end| end == "sock")).expect("a socket");
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

async fn assert_nothing_seen(small: &Small, from: &str) {
    let daemon = &small.daemon;
    assert_clean("the log", daemon.log().as_bytes());
    assert_clean("/metrics", get(daemon, "/metrics").await.as_bytes());
    assert_clean("/api/v1/status", get(daemon, "/api/v1/status").await.as_bytes());
    let commands: [&[&str]; 4] = [
        &["status", "-o", "json"],
        &["status"],
        &["history", "edge-001", "-o", "json"],
        &["history", "edge-001"],
    ];
    for command in commands {
        let output = daemon.command(command);
        assert!(Daemon::answered(command, &output), "{command:?}: {output:?}");
        assert_clean(&format!("{command:?}"), &[output.stdout, output.stderr].concat());
    }
    let clone = small.repo.clone_path();
    for format in ["text", "json", "markdown"] {
        for more in [&["--from", from][..], &["--live"]] {
            let repo = clone.to_str().unwrap();
            let command = [&["plan", "--repo", repo, "-o", format], more].concat();
            let output = daemon.command(&command);
            assert!(output.status.success(), "{command:?}: {output:?}");
            let says = output.stdout.windows(8).any(|word| word == b"password");
            assert!(says || more == ["--live"], "{command:?} says nothing: {output:?}");
            assert_clean(&format!("{command:?}"), &[output.stdout, output.stderr].concat());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_secrets_a_value_is_seen_nowhere() {
    let plane = shared("alpha").await.unwrap();
    let ns = "canary";
    plane.create_namespace(ns).await.unwrap();
    let mut small = Small::new(plane, ns);
    let other = config_map(ns, "map", "a");
    let empty = small.repo.write("profiles/app/app/map.yaml", &other).push("No secret");
    let first = small.repo.write("profiles/app/app/secret.yaml", &secret(ns, CANARY)).push("A secret");
    small.daemon.start();
    small.converged(&first).await;
    let value = ["get", "secret", "password", "-n", ns, "-o", "jsonpath={.data.password}"];
    assert_eq!(plane.kubectl(&value).await.unwrap(), BASE64_STANDARD.encode(CANARY));
    assert_nothing_seen(&small, &empty).await;

    // Someone else's change of it, healed and told.
    let patch = format!(r#"{{"stringData":{{"password":"{SECOND}"}}}}"#);
    plane.kubectl(&["patch", "secret", "password", "-n", ns, "-p", &patch]).await.unwrap();
    eventually("healed", SOON, async || {
        let found = plane.kubectl(&value).await.map_err(|error| error.to_string())?;
        if found == BASE64_STANDARD.encode(CANARY) { Ok(()) } else { Err(found) }
    })
    .await;
    eventually("told", SOON, async || {
        let history = String::from_utf8(small.daemon.command(&["history", "edge-001"]).stdout).unwrap();
        if history.contains("Secret canary/password") { Ok(()) } else { Err(history) }
    })
    .await;

    // A refusal whose text repeats the value.
    plane.kubectl_with_input(&["apply", "-f", "-"], TELLTALE).await.unwrap();
    let telltale = format!("--from-literal=password={CANARY}");
    let create = [
        "create",
        "secret",
        "generic",
        "no",
        "-n",
        ns,
        "--dry-run=server",
        "--from-literal=bad=x",
        &telltale,
    ];
    eventually("the server tells", SOON, async || match plane.kubectl(&create).await {
        Err(error) if error.to_string().contains(&BASE64_STANDARD.encode(CANARY)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let bad = secret(ns, SECOND).replace("stringData: {", "stringData: {bad: x, ");
    small.repo.write("profiles/app/app/secret.yaml", &bad).push("What the server refuses");
    let status = small.daemon.until("refused", SOON, |status| status["fleets"][0]["state"] == "failed").await;
    let reason = status["fleets"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("Secret canary/password"), "{reason}");
    assert_nothing_seen(&small, &first).await;

    small.daemon.stop();
    let state = small.daemon.config().parent().unwrap().join("state");
    // The mirror and the releases made from it hold what Git holds; the store is for everything else.
    let files =
        fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let files: Vec<_> = files.collect();
    assert!(files.iter().any(|file| fs::read(file).unwrap().starts_with(b"SQLite format 3")), "{files:?}");
    for file in files {
        assert_clean(&file.display().to_string(), &fs::read(file).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_kubeconfig_exec_is_refused_and_not_run() {
    let plane = shared("alpha").await.unwrap();
    let ns = "execs";
    plane.create_namespace(ns).await.unwrap();
    let small = Small::new(plane, ns);
    small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "a")).push("First");
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let kubeconfigs = Kubeconfigs::of(&[]);
    let exec = format!(
        "\
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: '{url}'}}}}]
users:
- name: u
  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['{marker}'], interactiveMode: Never}}}}
",
        url = plane.url(),
        marker = marker.display(),
    );
    fs::write(kubeconfigs.path().join("edge-001.yaml"), exec).unwrap();
    let mut daemon = Daemon::new(ns, &small.repo.url(), kubeconfigs.path());
    daemon.start();
    let status =
        daemon.until("refused", SOON, |status| target(status, "edge-001")["status"] == "offline").await;
    let reason = target(&status, "edge-001")["reason"].as_str().unwrap();
    assert!(reason.contains("'exec' is not allowed in a kubeconfig"), "{reason}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!marker.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_credentials_are_used_without_a_restart() {
    let plane = shared("alpha").await.unwrap();
    let ns = "rotates";
    plane.create_namespace(ns).await.unwrap();
    let small = Small::new(plane, ns);
    let first = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "a")).push("First");
    for account in ["old", "new"] {
        plane.mint_token(ns, account).await.unwrap();
        let subject = format!("--serviceaccount={ns}:{account}");
        let name = format!("{ns}-{account}");
        let bind = ["create", "clusterrolebinding", &name, "--clusterrole=cluster-admin", &subject];
        plane.kubectl(&bind).await.unwrap();
    }
    let token = plane.mint_token(ns, "old").await.unwrap();
    let old = plane.kubeconfig_with_token("rotates-old", &token).unwrap();
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", old)]);
    let mut daemon = Daemon::new(ns, &small.repo.url(), kubeconfigs.path());
    daemon.start();
    daemon.until("it runs", SOON, |status| super::runs(status, &first, &["edge-001"])).await;

    // The old account goes, and its token with it.
    let mark = plane.audit().mark().await.unwrap();
    let token = plane.mint_token(ns, "new").await.unwrap();
    let new = plane.kubeconfig_with_token("rotates-new", &token).unwrap();
    let folder = kubeconfigs.path();
    fs::copy(new, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("edge-001.yaml")).unwrap();
    plane.kubectl(&["delete", "serviceaccount", "old", "-n", ns]).await.unwrap();
    let second = small.repo.write("profiles/app/app/map.yaml", &config_map(ns, "map", "b")).push("Second");
    daemon.until("it runs on", SOON, |status| super::runs(status, &second, &["edge-001"])).await;
    // Whichever of the two applied it: soon all that is asked is asked by the new one.
    eventually("the new account is used", SOON, async || {
        let events = plane.audit().since(mark).await.map_err(|error| error.to_string())?;
        let user = format!("system:serviceaccount:{ns}:new");
        let used = events.agent("fairlead/").filter(|event| event.user == user && event.code == 200);
        if used.count() > 0 { Ok(()) } else { Err(events.agent("fairlead/").lines()) }
    })
    .await;
    for name in ["rotates-old", "rotates-new"] {
        plane.kubectl(&["delete", "clusterrolebinding", name]).await.unwrap();
    }
}
