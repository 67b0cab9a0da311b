//! What `deploy/` says is enough is enough: the daemon with just the role of `deploy/target/rbac.yaml`; and
//! alerts and documents name metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::e2e::{Kubeconfigs, SOON, runs};
use crate::harness::{ControlPlane, Events, Options, User};
use crate::world::daemon::Daemon;
use crate::world::repository::FleetRepo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_is_enough_and_no_more_than_that() {
    let options = Options { users: vec![User::new("fairlead", &[])], ..Options::default() };
    let plane = ControlPlane::start("least", options).await.unwrap();
    plane.kubectl(&["apply", "-f", "deploy/target/rbac.yaml"]).await.unwrap();
    let repo = FleetRepo::empty();
    repo.copy_from("examples/fleet");
    let first = repo.push("The example");
    let mine = plane.kubeconfig_for("fairlead").unwrap();
    let kubeconfigs = Kubeconfigs::of(&[("edge-001", mine)]);
    let mut daemon = Daemon::new("default", &repo.url(), kubeconfigs.path());
    let mark = plane.audit().mark().await.unwrap();
    daemon.start();
    let real = ["edge-001"];
    daemon.until("the example runs", SOON, |status| runs(status, &first, &real)).await;

    let layer = "  - name: access\n    type: kubernetes\n    manifests: {path: access}\n";
    repo.edit("profiles/retail-edge/shop/web.yaml", "shop/web:1.4.0", "shop/web:1.5.0")
        .remove("profiles/platform/agent/agent.yaml")
        .remove("profiles/platform/access/rbac.yaml")
        .edit("profiles/platform/profile.yaml", layer, "");
    let second = repo.push("A change, and things to prune");
    daemon.until("the change runs", SOON, |status| runs(status, &second, &real)).await;
    let gone = plane.kubectl(&["get", "deployment", "agent", "-n", "platform"]).await;
    assert!(gone.is_err(), "{gone:?}");
    plane.kubectl(&["scale", "deployment", "web", "-n", "shop", "--replicas=4"]).await.unwrap();
    crate::world::eventually("the scaling is put right", SOON, async || {
        let get = ["get", "deployment", "web", "-n", "shop", "-o", "jsonpath={.spec.replicas}"];
        let found = plane.kubectl(&get).await.map_err(|error| error.to_string())?;
        if found == "2" { Ok(()) } else { Err(found) }
    })
    .await;
    let reverted = repo.revert(&second);
    daemon.until("the revert runs", SOON, |status| runs(status, &reverted, &real)).await;
    claims_and_causes(&plane, &daemon, &repo).await;

    metrics_are_those_that_are_documented(&daemon);

    // Leaving deletes the ledger, and takes our label from the objects.
    let left = daemon.command(&["leave", "edge-001"]);
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    crate::world::eventually("the ledger is gone", SOON, async || {
        let get = ["get", "configmaps", "-n", "fairlead-system", "-o", "jsonpath={.items[*].metadata.name}"];
        let found = plane.kubectl(&get).await.map_err(|error| error.to_string())?;
        if found.contains("fairlead-default") { Err(found) } else { Ok(()) }
    })
    .await;

    let asked = plane.audit().since(mark).await.unwrap().filter(|event| event.user == "fairlead");
    let refused = asked.filter(|event| event.code == 403);
    assert_eq!(refused.count(), 0, "{}", refused.lines());
    let idle = unused(&asked);
    assert!(idle.is_empty(), "granted and never used: {idle:#?}\nasked:\n{}", summary(&asked));
}

/// Why something is not healthy, and what a claim's class says, is asked with the same role; claims are a kind more.
async fn claims_and_causes(plane: &ControlPlane, daemon: &Daemon, repo: &FleetRepo) {
    let verbs = "--verb=get,list,watch,create,patch,delete";
    plane
        .kubectl(&["create", "clusterrole", "claims", verbs, "--resource=persistentvolumeclaims"])
        .await
        .unwrap();
    plane
        .kubectl(&["create", "clusterrolebinding", "claims", "--clusterrole=claims", "--user=fairlead"])
        .await
        .unwrap();
    let class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: late}, provisioner: example.test/none, volumeBindingMode: WaitForFirstConsumer}";
    plane.kubectl_with_input(&["create", "-f", "-"], class).await.unwrap();
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: cache, namespace: shop}\nspec: {accessModes: [ReadWriteOnce], storageClassName: late, resources: {requests: {storage: 1Gi}}}\n";
    repo.write("profiles/retail-edge/shop/claim.yaml", claim);
    let third = repo.push("A claim that waits for its Pod");
    daemon.until("the claim is healthy", SOON, |status| runs(status, &third, &["edge-001"])).await;

    repo.edit("profiles/retail-edge/shop/web.yaml", "shop/web:1.4.0", "shop/web:1.6.0").edit(
        "profiles/retail-edge/shop/web.yaml",
        "    metadata:\n      labels:",
        "    metadata:\n      annotations: {fairlead.test/fail: unready}\n      labels:",
    );
    repo.push("A change that does not work");
    crate::world::eventually("the cause is told", SOON, async || {
        let found = daemon.command(&["explain", "edge-001"]);
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let told = text.contains("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503");
        if told { Ok(()) } else { Err(text) }
    })
    .await;
}

/// (API group, resource, verb).
type Right = (String, String, String);

fn used(asked: &Events) -> BTreeSet<Right> {
    asked.0.iter().map(|e| (e.group.clone(), e.resource.clone(), e.verb.clone())).collect()
}

fn summary(asked: &Events) -> String {
    used(asked).into_iter().map(|(group, resource, verb)| format!("{verb} {resource} {group}\n")).collect()
}

/// What rules grant and nobody asked for: resources that were never touched, verbs that no resource of a rule
/// was asked with. Server-side apply asks with `patch` and needs `create` for what is not there; `bind` and
/// `escalate` are checked inside a request.
fn unused(asked: &Events) -> Vec<String> {
    let used = used(asked);
    let text = fs::read_to_string("deploy/target/rbac.yaml").unwrap();
    let mut idle = Vec::new();
    for document in serde_norway::Deserializer::from_str(&text) {
        let role = Value::deserialize(document).unwrap();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let list = |field: &str| -> Vec<String> {
                let values = rule[field].as_array().unwrap_or_else(|| panic!("{rule}: no {field}"));
                values.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
            };
            let (groups, resources) = (list("apiGroups"), list("resources"));
            let mut used_here = used
                .iter()
                .filter(|(group, resource, _)| groups.contains(group) && resources.contains(resource));
            for resource in &resources {
                if !used_here.clone().any(|(_, one, _)| one == resource) {
                    idle.push(format!("{}: {resource}", role["metadata"]["name"]));
                }
            }
            for verb in
                list("verbs").iter().filter(|verb| !["create", "bind", "escalate"].contains(&verb.as_str()))
            {
                if !used_here.clone().any(|(_, _, one)| one == verb) {
                    idle.push(format!("{}: {verb} {resources:?}", role["metadata"]["name"]));
                }
            }
            if list("verbs").iter().any(|verb| verb == "create")
                && !used_here.any(|(_, _, verb)| verb == "create" || verb == "patch")
            {
                idle.push(format!("{}: create {resources:?}", role["metadata"]["name"]));
            }
        }
    }
    idle
}

fn metrics_are_those_that_are_documented(daemon: &Daemon) {
    let socket = daemon.config().parent().unwrap().join("state/fairlead.sock");
    let text = scrape(&socket);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next()).filter(|name| name.contains('_'));
    let served: BTreeSet<String> = names.map(family).collect();
    assert_eq!(served, documented(), "docs/operations.md has other metrics than the daemon:\n{text}");
}

fn scrape(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.to_owned()
}

/// A histogram has three kinds of samples.
fn family(name: &str) -> String {
    let stems = ["_bucket", "_sum", "_count"].iter().filter_map(|suffix| name.strip_suffix(suffix));
    stems.into_iter().next().unwrap_or(name).to_owned()
}

/// The metrics in the table of the operations page: `` | `name{labels}` | ``.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = cells.filter_map(|cell| cell.split(['{', '`']).next());
    names
        .filter(|name| name.starts_with("fairlead_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_use_metrics_that_there_are() {
    let documented = documented();
    let text = fs::read_to_string("deploy/prometheus/alerts.yaml").unwrap();
    let alerts: Value = serde_norway::from_str(&text).unwrap();
    let mut expressions = BTreeMap::new();
    for rule in
        alerts["spec"]["groups"].as_array().unwrap().iter().flat_map(|g| g["rules"].as_array().unwrap())
    {
        let name = rule["alert"].as_str().unwrap();
        assert!(rule["annotations"]["summary"].is_string(), "{name} has no summary");
        expressions.insert(name.to_owned(), rule["expr"].as_str().unwrap().to_owned());
    }
    assert!(expressions.len() > 4, "{expressions:?}");
    for (alert, expression) in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics: Vec<_> =
            words.filter(|word| word.starts_with("fairlead_") || word.starts_with("process_")).collect();
        assert!(!metrics.is_empty() || expression.starts_with("up"), "{alert}: {expression}");
        for metric in metrics {
            assert!(documented.contains(&family(metric)), "{alert}: no metric {metric}");
        }
    }
}

#[test]
fn the_settings_of_the_deployment_are_settings() {
    fairlead::daemon::Settings::read(Path::new("deploy/base/settings.yaml")).unwrap();
}

/// What kustomize makes of `deploy/base`.
async fn base(plane: &ControlPlane) -> Vec<Value> {
    let text = plane.kubectl(&["kustomize", "deploy/base"]).await.unwrap();
    serde_norway::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_are_what_an_api_server_takes() {
    let plane = crate::harness::shared("beta").await.unwrap();
    plane.kubectl(&["apply", "-f", "deploy/base/namespace.yaml"]).await.unwrap();
    let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", "deploy/base"];
    let said = plane.kubectl(&dry).await.unwrap();
    for kind in ["serviceaccount", "configmap", "service/", "statefulset"] {
        assert!(said.contains(kind), "{kind}:\n{said}");
    }

    // A StatefulSet is taken whatever its Pods would be; the namespace's pod security judges those.
    let documents = base(plane).await;
    let set = documents.iter().find(|document| document["kind"] == "StatefulSet").unwrap();
    let template = &set["spec"]["template"];
    let mut pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "fairlead-0", "namespace": "fairlead", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    });
    // The service account is not there in a dry run; the controller adds the claim's volume.
    pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    let state = serde_json::json!({"name": "state", "emptyDir": {}});
    pod["spec"]["volumes"].as_array_mut().unwrap().push(state);
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    plane.kubectl_with_input(&create, &pod.to_string()).await.unwrap();

    let container = &template["spec"]["containers"][0];
    let args: Vec<_> =
        container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_fairlead"))
        .args(&args)
        .arg("--help")
        .output()
        .unwrap();
    assert!(help.status.success(), "{args:?}: {}", String::from_utf8_lossy(&help.stderr));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let settings = fs::read_to_string("deploy/base/settings.yaml").unwrap();
    for path in
        settings.split_whitespace().map(|word| word.trim_matches(['{', '}'])).filter(|w| w.starts_with('/'))
    {
        let mounted = mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        assert!(mounted, "{path} is on no volume");
    }
}

#[test]
fn the_systemd_unit_is_one() {
    let unit = fs::read_to_string("deploy/systemd/fairlead.service").unwrap();
    let program = "/usr/local/bin/fairlead";
    assert!(unit.contains(&format!("ExecStart={program} run --config ")), "{unit}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fairlead.service");
    // Only the program's place differs from an installed one's.
    fs::write(&file, unit.replace(program, env!("CARGO_BIN_EXE_fairlead"))).unwrap();
    let verify =
        std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    match verify {
        Ok(found) => {
            let said = String::from_utf8_lossy(&found.stderr).into_owned();
            assert!(found.status.success() && !said.contains("fairlead.service:"), "{said}");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("there is no systemd-analyze here: the unit is not checked");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_containerfile_builds_and_starts_what_there_is() {
    let text = fs::read_to_string("deploy/Containerfile").unwrap();
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let image = text.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    assert!(image.starts_with(version.trim_matches('"')), "FROM rust:{image}, but rust-version = {version}");
    let program = env!("CARGO_BIN_EXE_fairlead").rsplit('/').next().unwrap();
    assert!(text.contains(&format!("cargo build --profile dist --locked --bin {program}\n")), "{text}");
    let installed = format!("/usr/local/bin/{program}");
    for line in [
        format!("COPY --from=build /src/target/dist/{program} {installed}"),
        format!("ENTRYPOINT [\"{installed}\"]"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let set = fs::read_to_string("deploy/base/fairlead.yaml").unwrap();
    let user = text.lines().find_map(|line| line.strip_prefix("USER ")).unwrap().split(':').next().unwrap();
    assert!(set.contains(&format!("runAsUser: {user}\n")), "the image runs as {user}, the Pod does not");
    assert!(set.contains(&format!("image: fairlead:{}\n", env!("CARGO_PKG_VERSION"))));
}
