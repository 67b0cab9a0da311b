//! The real kubectl on `fairlead sim`, with the kubeconfig as it is written.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::Process;
use crate::harness::{Result, shared, tool};

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: tempfile::TempDir,
}

impl Kubectl {
    fn new(kubeconfig: PathBuf) -> Result<Self> {
        Ok(Self { program: tool("kube")?.join("kubectl"), kubeconfig, cache: tempfile::tempdir()? })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.cache.path())
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// What it prints; it must succeed.
    fn ok(&self, args: &[&str]) -> String {
        self.with_input(args, "")
    }

    fn with_input(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {}: {errors}", args.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it complains of; it must fail.
    fn fails(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert!(!output.status.success(), "kubectl {} succeeded", args.join(" "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [
                {"name": "web", "image": "registry.example/web:1", "env": [{"name": "A", "value": "1"}]},
                {"name": "side", "image": "registry.example/side:1"}]}}}})
}

/// Words of a line of a table.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn kubectl_does_its_work_on_a_simulated_cluster() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _process = Process::start(folder.path(), &["--clusters", "1", "--ready-after", "200ms"]);
    let kubectl = Kubectl::new(folder.path().join("edge-001.yaml"))?;
    looks(&kubectl);
    writes(&kubectl, folder.path());
    waits(&kubectl);
    custom(&kubectl);
    refusals(&kubectl);
    Ok(())
}

fn looks(kubectl: &Kubectl) {
    let text = kubectl.ok(&["get", "namespaces"]);
    assert_eq!(words(text.lines().next().unwrap()), ["NAME", "STATUS", "AGE"], "{text}");
    assert!(text.contains("kube-system"), "{text}");
    let text = kubectl.ok(&["api-resources"]);
    let deployments = text.lines().find(|line| line.starts_with("deployments ")).unwrap();
    assert_eq!(words(deployments), ["deployments", "deploy", "apps/v1", "true", "Deployment"]);
    let text = kubectl.ok(&["version"]);
    assert!(text.contains("Server Version: v1.37"), "{text}");
    assert_eq!(kubectl.ok(&["auth", "can-i", "delete", "deployments"]).trim(), "yes");
    assert!(kubectl.ok(&["auth", "whoami"]).contains("anyone"));
    let text = kubectl.ok(&["explain", "deployment.spec.replicas"]);
    assert!(text.contains("FIELD: replicas <integer>"), "{text}");
    let text = kubectl.ok(&["explain", "deployment.spec.template.spec", "--recursive"]);
    assert!(text.contains("containers") && text.contains("imagePullPolicy"), "{text}");
    let text = kubectl.ok(&["describe", "node"]);
    assert!(text.contains("Conditions:"), "{text}");
}

fn writes(kubectl: &Kubectl, folder: &Path) {
    let applied = kubectl.with_input(&["apply", "-f", "-"], &deployment().to_string());
    assert_eq!(applied, "deployment.apps/web created\n");
    let again = kubectl.with_input(&["apply", "-f", "-"], &deployment().to_string());
    assert_eq!(again, "deployment.apps/web unchanged\n");
    // A strategic patch: the list of containers is merged by name, and what is dropped goes.
    let mut changed = deployment();
    changed["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "web", "image": "registry.example/web:2"}]);
    assert_eq!(
        kubectl.with_input(&["apply", "-f", "-"], &changed.to_string()),
        "deployment.apps/web configured\n"
    );
    let images = ["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"];
    assert_eq!(kubectl.ok(&images), "registry.example/web:2");
    let env = ["get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[*].env}"];
    assert_eq!(kubectl.ok(&env), "");

    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}});
    let server_side = ["apply", "--server-side", "-f", "-"];
    assert_eq!(kubectl.with_input(&server_side, &map.to_string()), "configmap/settings serverside-applied\n");
    let value = ["get", "cm", "settings", "-o", "jsonpath={.data.a}"];
    for (args, wanted) in [
        (&["patch", "cm", "settings", "--type", "merge", "-p", r#"{"data":{"a":"2"}}"#][..], "2"),
        (
            &[
                "patch",
                "cm",
                "settings",
                "--type",
                "json",
                "-p",
                r#"[{"op":"replace","path":"/data/a","value":"3"}]"#,
            ],
            "3",
        ),
        (&["patch", "cm", "settings", "-p", r#"{"data":{"a":"4"}}"#], "4"),
    ] {
        kubectl.ok(args);
        assert_eq!(kubectl.ok(&value), wanted);
    }
    kubectl.ok(&["label", "cm", "settings", "tier=test"]);
    kubectl.ok(&["annotate", "cm", "settings", "note=mine"]);
    let named = kubectl.ok(&["get", "cm", "-l", "tier=test", "-o", "name"]);
    assert_eq!(named, "configmap/settings\n");

    let editor = folder.join("edit.sh");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/a: \"4\"/a: \"5\"/' \"$1\"\n").unwrap();
    let mut edit = kubectl.command(&["edit", "cm", "settings"]);
    let edited = edit.env("KUBE_EDITOR", format!("sh {}", editor.display())).output().unwrap();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    assert_eq!(kubectl.ok(&value), "5");

    let mut found: Value =
        serde_json::from_str(&kubectl.ok(&["get", "cm", "settings", "-o", "json"])).unwrap();
    found["data"]["a"] = json!("6");
    assert_eq!(
        kubectl.with_input(&["replace", "-f", "-"], &found.to_string()),
        "configmap/settings replaced\n"
    );
    assert_eq!(kubectl.ok(&value), "6");

    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let made =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": "shop"}});
    let load = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "load", "namespace": "shop"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "registry.example/job:1"}]}}}});
    for object in [shop, made, load] {
        kubectl.with_input(&["create", "-f", "-"], &object.to_string());
    }
    // Objects that kubectl makes up by itself it sends as protobuf.
    let said = kubectl.fails(&["create", "namespace", "other"], "");
    assert!(said.contains("kubectl create -f"), "{said}");
    kubectl.ok(&["scale", "deployment", "web", "--replicas=3"]);
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]), "3");
    assert_eq!(
        kubectl.ok(&["delete", "cm", "made", "-n", "shop"]),
        "configmap \"made\" deleted from shop namespace\n"
    );
}

fn waits(kubectl: &Kubectl) {
    let text = kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert!(text.contains("successfully rolled out"), "{text}");
    kubectl.ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["wait", "--for=condition=Complete", "job/load", "-n", "shop", "--timeout=60s"]);
    let text = kubectl.ok(&["get", "deployments"]);
    let mut lines = text.lines();
    assert_eq!(words(lines.next().unwrap()), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(words(lines.next().unwrap())[..4], ["web", "3/3", "3", "3"]);
    let text = kubectl.ok(&["get", "deploy", "-o", "wide"]);
    assert!(words(text.lines().nth(1).unwrap()).contains(&"registry.example/web:2"), "{text}");
    let text = kubectl.ok(&["describe", "deployment", "web"]);
    assert!(text.contains("3 desired | 3 updated | 3 total | 3 available"), "{text}");
    let text = kubectl.ok(&["get", "all"]);
    assert!(text.contains("deployment.apps/web") && text.contains("service/kubernetes"), "{text}");
    let text = kubectl.ok(&["get", "cm", "settings", "-o", "yaml", "--show-managed-fields"]);
    assert!(text.contains("managedFields:"), "{text}");
    kubectl.ok(&["rollout", "restart", "deployment/web"]);

    // A watch prints a line for each change, as a table.
    let mut watch = kubectl.command(&["get", "cm", "settings", "-w"]).spawn().unwrap();
    let mut lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(words(&next()), ["NAME", "DATA", "AGE"]);
    assert_eq!(words(&next())[..2], ["settings", "1"]);
    kubectl.ok(&["patch", "cm", "settings", "-p", r#"{"data":{"b":"x"}}"#]);
    assert_eq!(words(&next())[..2], ["settings", "2"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(
        kubectl.ok(&["delete", "deployment", "web"]),
        "deployment.apps \"web\" deleted from default namespace\n"
    );
    assert!(kubectl.fails(&["get", "deploy", "web"], "").contains("not found"));
}

fn custom(kubectl: &Kubectl) {
    let columns = json!([{"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}]);
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "additionalPrinterColumns": columns,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How large."}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    kubectl.with_input(&["apply", "-f", "-"], &crd.to_string());
    kubectl.ok(&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=30s"]);
    let widget = |size: u32| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": size}});
    kubectl.with_input(&["apply", "-f", "-"], &widget(3).to_string());
    kubectl.with_input(&["apply", "-f", "-"], &widget(4).to_string());
    let text = kubectl.ok(&["get", "wd"]);
    let rows: Vec<Vec<&str>> = text.lines().map(words).collect();
    assert_eq!(rows, [vec!["NAME", "SIZE", "READY"], vec!["one", "4"]], "{text}");
    let text = kubectl.ok(&["explain", "widget.spec.size"]);
    assert!(text.contains("How large."), "{text}");
    kubectl.ok(&["scale", "widget", "one", "--replicas=7"]);
    assert_eq!(kubectl.ok(&["get", "widget", "one", "-o", "jsonpath={.spec.size}"]), "7");
}

fn refusals(kubectl: &Kubectl) {
    let mut wrong = deployment();
    wrong["spec"]["replica"] = json!(2);
    let said = kubectl.fails(&["apply", "-f", "-"], &wrong.to_string());
    assert!(said.contains("unknown field \"spec.replica\""), "{said}");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"},
        "spec": {"containers": [{"name": "c", "image": "registry.example/web:1"}]}});
    kubectl.with_input(&["create", "-f", "-"], &pod.to_string());
    let said = kubectl.fails(&["logs", "one"], "");
    assert!(said.contains("run no containers"), "{said}");
    let text = kubectl.ok(&["describe", "pod", "one"]);
    assert!(text.contains("Containers:"), "{text}");
    let map = |size: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"a": "x".repeat(size)}});
    let said = kubectl.fails(&["create", "-f", "-"], &map((1 << 20) + 1).to_string());
    assert!(said.contains("Too long: may not be more than 1048576 bytes"), "{said}");
    kubectl.with_input(&["create", "-f", "-"], &map(1 << 20).to_string());
    // A namespace on an object that is in none is taken away.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reader", "namespace": "default"}, "rules": []});
    kubectl.with_input(&["create", "-f", "-"], &role.to_string());
    assert_eq!(kubectl.ok(&["get", "clusterrole", "reader", "-o", "jsonpath={.metadata.namespace}"]), "");
}

#[test]
fn finished_jobs_go_and_roles_are_gathered() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _process = Process::start(folder.path(), &["--clusters", "1", "--ready-after", "100ms"]);
    let kubectl = Kubectl::new(folder.path().join("edge-001.yaml"))?;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "load"},
        "spec": {"ttlSecondsAfterFinished": 1, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "registry.example/job:1"}]}}}});
    kubectl.with_input(&["create", "-f", "-"], &job.to_string());
    kubectl.ok(&["wait", "--for=delete", "job/load", "--timeout=60s"]);

    let role = |name: &str, more: Value| {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
        for (field, value) in more.as_object().unwrap() {
            role[field] = value.clone();
        }
        kubectl.with_input(&["apply", "--server-side", "-f", "-"], &role.to_string());
    };
    role("all", json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part-of": "all"}}]}}));
    let rule = |resource: &str| json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
    for name in ["pods", "secrets"] {
        role(name, json!({"metadata": {"name": name, "labels": {"part-of": "all"}}, "rules": rule(name)}));
    }
    let gathered = |wanted: &str| {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let found = kubectl.ok(&["get", "clusterrole", "all", "-o", "jsonpath={.rules[*].resources[*]}"]);
            if found == wanted {
                return;
            }
            assert!(Instant::now() < end, "{found}, not {wanted}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    gathered("pods secrets");
    kubectl.ok(&["delete", "clusterrole", "pods"]);
    gathered("secrets");
    Ok(())
}

/// The columns that a server gives to each kind are those of a real one.
#[tokio::test]
async fn tables_have_the_columns_of_a_real_server() -> Result<()> {
    let plane = shared("alpha").await?;
    let real = plane.client().await?;
    let folder = tempfile::tempdir()?;
    let _process = Process::start(folder.path(), &["--clusters", "1"]);
    let sim = crate::harness::kubeconfig_client(&folder.path().join("edge-001.yaml"), "tests").await?;
    let table = |client: &kube::Client, path: &str| {
        let request = http::Request::get(path)
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
            .body(Vec::new())
            .unwrap();
        let client = client.clone();
        async move { client.request::<Value>(request).await }
    };
    let kinds = std::fs::read_to_string("crates/sim/src/kinds.txt")?;
    for line in kinds.lines().filter_map(|line| line.strip_prefix("kind ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let root = if words[0].contains('/') { "apis" } else { "api" };
        let path = format!("/{root}/{}/{}", words[0], words[2]);
        let columns = |table: &Value| -> Vec<Value> {
            let all = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
            all.iter().map(|c| json!([c["name"], c["type"], c["format"], c["priority"]])).collect()
        };
        let (ours, theirs) = (table(&sim, &path).await?, table(&real, &path).await?);
        assert_eq!(columns(&ours), columns(&theirs), "{path}");
    }
    Ok(())
}
