//! What the pure rooms believe about objects, held to a real API server: who owns which field, what a
//! server writes otherwise than a manifest, what it refuses to change, and when kinds are healthy.

use std::time::Duration;

use fairlead_cluster::fields::{conflicts, managers_and_fields, our_digest, our_paths};
use fairlead_cluster::health::{Observer, Reduced, Verdict};
use fairlead_core::model::field_path::remove;
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::{GroupKind, ObjectKey, split_api_version};
use fairlead_core::plan::immutable_changes;
use fairlead_core::plan::offline::{covers, fold_string_data};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use serde_json::{Value, json};

use crate::harness::{ControlPlane, Result, shared, wait_for};

const US: &str = "fairlead-objects";
const SOON: Duration = Duration::from_secs(60);

struct Cluster {
    client: kube::Client,
    namespace: &'static str,
}

impl Cluster {
    async fn new(plane: &ControlPlane, namespace: &'static str) -> Result<Self> {
        plane.create_namespace(namespace).await?;
        Ok(Self { client: plane.client().await?, namespace })
    }

    async fn api(&self, manifest: &Value) -> Result<Api<DynamicObject>> {
        let (group, version) = split_api_version(manifest["apiVersion"].as_str().unwrap());
        let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
        let (resource, capabilities) = kube::discovery::pinned_kind(&self.client, &kind).await?;
        Ok(self.scoped(&resource, &capabilities.scope))
    }

    fn scoped(&self, resource: &ApiResource, scope: &Scope) -> Api<DynamicObject> {
        match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), self.namespace, resource),
        }
    }

    async fn apply(&self, manifest: &Value, params: &PatchParams) -> Result<Value> {
        let api = self.api(manifest).await?;
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let answer = api.patch(name, params, &Patch::Apply(manifest)).await?;
        Ok(serde_json::to_value(answer)?)
    }

    async fn get(&self, manifest: &Value) -> Result<Value> {
        let api = self.api(manifest).await?;
        Ok(serde_json::to_value(api.get(manifest["metadata"]["name"].as_str().unwrap()).await?)?)
    }
}

fn ours() -> PatchParams {
    PatchParams::apply(US)
}

fn kind(manifest: &Value) -> GroupKind {
    let (group, _) = split_api_version(manifest["apiVersion"].as_str().unwrap());
    GroupKind { group: group.into(), kind: manifest["kind"].as_str().unwrap().into() }
}

fn key(manifest: &Value) -> ObjectKey {
    let GroupKind { group, kind } = kind(manifest);
    ObjectKey::new(&group, &kind, "", manifest["metadata"]["name"].as_str().unwrap())
}

/// A manifest named after its kind; `rest` is the body.
fn manifest(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut manifest =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": kind.to_lowercase()}});
    manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    manifest
}

fn pods(name: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "registry.example/a:1"}]}})
}

fn workload(name: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": pods(name)});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"spec": spec})
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn a_server_keeps_what_a_manifest_says_in_words_that_we_know() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-covered").await?;
    let rich = json!({"template": {"metadata": {"labels": {"app": "rich"}}, "spec": {
        "containers": [
            {"name": "b", "image": "registry.example/b:1", "command": ["sh"], "args": ["-c", "true"],
             "env": [{"name": "Z", "value": "1"}, {"name": "A", "value": "2"}],
             "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
             "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}},
             "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
             "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
            {"name": "a", "image": "registry.example/a:1", "env": []}],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Ki"}}],
        "tolerations": [{"key": "x", "operator": "Exists"}], "nodeSelector": {}}}});
    let role = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let all = [
        manifest("apps/v1", "Deployment", workload("rich", rich)),
        manifest(
            "apps/v1",
            "StatefulSet",
            workload(
                "set",
                json!({"serviceName": "set", "volumeClaimTemplates": [
            {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}]}),
            ),
        ),
        manifest("apps/v1", "DaemonSet", workload("daemon", json!({}))),
        manifest(
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "0 1 * * *", "jobTemplate": {"spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "registry.example/a:1"}]}}}}}}),
        ),
        manifest(
            "v1",
            "Service",
            json!({"spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP", "name": "dns"}]}}),
        ),
        manifest("v1", "ConfigMap", json!({"data": {"a": "1000m", "empty": ""}})),
        manifest("v1", "Secret", json!({"stringData": {"a": "b"}, "data": {"c": "ZA=="}})),
        manifest("v1", "ServiceAccount", json!({"automountServiceAccountToken": false})),
        manifest(
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}),
        ),
        manifest("v1", "ResourceQuota", json!({"spec": {"hard": {"requests.cpu": "100000m"}}})),
        manifest(
            "v1",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1000m"}, "defaultRequest": {"cpu": "0.1"}}]}}),
        ),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}),
        ),
        manifest(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ),
        manifest(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
        ),
        manifest(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef":
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}}),
        ),
        manifest("rbac.authorization.k8s.io/v1", "Role", role),
    ];
    let mut wrong = Vec::new();
    for manifest in all {
        let live = cluster.apply(&manifest, &ours()).await?;
        if !covers(&manifest, &live) {
            wrong.push(format!("{manifest}\n{}", live["spec"]));
        }
        assert!(our_digest(&live, US).is_some());
        for pointer in our_paths(&live, US) {
            // `stringData` is for writing alone; what a manifest leaves empty is ours, though it is not there.
            let empty =
                manifest.pointer(&pointer).is_some_and(|value| *value == json!([]) || *value == json!({}));
            if !empty && !pointer.starts_with("/stringData") && live.pointer(&pointer).is_none() {
                wrong.push(format!("{}: {pointer} is not there", manifest["kind"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn our_entry_tells_of_foreign_writes_and_comes_back_when_healed() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-owned").await?;
    let mut web = manifest("apps/v1", "Deployment", workload("web", json!({"replicas": 1})));
    web["metadata"]["labels"] = json!({"team": "a"});
    let first = our_digest(&cluster.apply(&web, &ours()).await?, US);
    let foreign = [
        json!({"spec": {"replicas": 2}}),
        json!({"metadata": {"labels": {"team": null}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/b:2"}]}}}}),
    ];
    let api = cluster.api(&web).await?;
    let kubectl = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    for change in foreign {
        api.patch("deployment", &kubectl, &Patch::Strategic(&change)).await?;
        let live = cluster.get(&web).await?;
        assert_ne!(our_digest(&live, US), first, "{change}");
        assert!(!covers(&web, &live), "{change}");
        let healed = cluster.apply(&web, &ours().force()).await?;
        assert_eq!(our_digest(&healed, US), first, "{change}");
        assert!(covers(&web, &healed));
    }
    // Someone else's own fields are none of our business.
    api.patch("deployment", &kubectl, &Patch::Merge(json!({"metadata": {"annotations": {"note": "x"}}})))
        .await?;
    assert_eq!(our_digest(&cluster.get(&web).await?, US), first);
    Ok(())
}

/// Sent as `stringData`, a foreign write of the value would not show.
#[tokio::test]
async fn foreign_writes_of_a_secret_show_once_its_string_data_is_folded() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-secret").await?;
    let mut secret = manifest("v1", "Secret", json!({"stringData": {"a": "b"}}));
    let patch = Patch::Merge(json!({"data": {"a": "eA=="}}));
    let kubectl = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    for folded in [false, true] {
        secret["metadata"]["name"] = format!("folded-{folded}").into();
        if folded {
            fold_string_data(&mut secret);
        }
        let before = our_digest(&cluster.apply(&secret, &ours()).await?, US);
        let name = secret["metadata"]["name"].as_str().unwrap();
        cluster.api(&secret).await?.patch(name, &kubectl, &patch).await?;
        let after = our_digest(&cluster.get(&secret).await?, US);
        assert_eq!(before != after, folded, "{secret}");
    }
    Ok(())
}

#[tokio::test]
async fn conflicts_and_ignored_paths_name_the_other_manager() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-shared").await?;
    let web = manifest("apps/v1", "Deployment", workload("web", json!({"replicas": 1})));
    cluster.apply(&web, &ours()).await?;
    let api = cluster.api(&web).await?;
    let scaler = PatchParams { field_manager: Some("scaler".into()), ..PatchParams::default() };
    api.patch_scale("deployment", &scaler, &Patch::Merge(json!({"spec": {"replicas": 3}}))).await?;

    let Err(kube::Error::Api(status)) = api.patch("deployment", &ours(), &Patch::Apply(&web)).await else {
        panic!("the apply should have been refused")
    };
    let found = conflicts(&serde_json::to_value(&status)?);
    assert_eq!(managers_and_fields(&found), (vec!["scaler".to_owned()], vec![".spec.replicas".to_owned()]));

    let path = "/spec/replicas".to_owned();
    let ignored = [IgnoredPath { kind: None, group: None, name: None, path: path.clone() }];
    let observer = Observer { manager: US, set: None, ignored: &ignored };
    let reduced = observer.reduce(&kind(&web), &cluster.get(&web).await?).unwrap();
    assert_eq!(reduced.object.yielded, std::slice::from_ref(&path));
    let mut body = web.clone();
    remove(&mut body, &[path]);
    let live = cluster.apply(&body, &ours()).await?;
    assert_eq!(live.pointer("/spec/replicas"), Some(&json!(3)));
    Ok(())
}

/// Base, change, and whether the server takes it.
#[allow(clippy::too_many_lines, reason = "a table")]
fn changes() -> Vec<(Value, Value, bool)> {
    let selector = json!({"spec": {"selector": {"matchLabels": {"more": "x"}}, "template": {"metadata": {"labels": {"more": "x"}}}}});
    let job = json!({"spec": {"completions": 1, "suspend": true, "template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "a", "image": "registry.example/a:1"}]}}}});
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "registry.example/a:2"}]}}}});
    let set = || manifest("apps/v1", "StatefulSet", workload("set", json!({"serviceName": "a"})));
    let subjects =
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "a", "resources": {"requests": {"storage": "1Gi"}}}});
    let volume = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "nfs": {"server": "a", "path": "/"}}});
    let crd = json!({"metadata": {"name": "things.objects.example"}, "spec": {"group": "objects.example", "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let rbac = "rbac.authorization.k8s.io/v1";
    vec![
        (manifest("apps/v1", "Deployment", workload("a", json!({}))), selector.clone(), false),
        (
            manifest("apps/v1", "Deployment", workload("a", json!({}))),
            json!({"spec": {"minReadySeconds": 1}}),
            true,
        ),
        (manifest("apps/v1", "DaemonSet", workload("a", json!({}))), selector.clone(), false),
        (manifest("apps/v1", "ReplicaSet", workload("a", json!({}))), selector, false),
        (set(), json!({"spec": {"serviceName": "b"}}), false),
        (
            set(),
            json!({"spec": {"replicas": 2, "minReadySeconds": 1, "updateStrategy": {"rollingUpdate": {"partition": 1}},
            "revisionHistoryLimit": 3, "ordinals": {"start": 1},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}}),
            true,
        ),
        (manifest("batch/v1", "Job", job.clone()), image, false),
        (manifest("batch/v1", "Job", job.clone()), json!({"spec": {"completions": 2}}), false),
        (manifest("batch/v1", "Job", job), json!({"spec": {"parallelism": 2}}), true),
        (
            manifest(
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "registry.example/a:1"}], "nodeSelector": {"none": "x"}}}),
            ),
            json!({"spec": {"containers": [{"name": "a", "image": "registry.example/a:2"}]}}),
            true,
        ),
        (
            manifest(
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "registry.example/a:1"}], "nodeSelector": {"none": "x"}, "hostname": "a"}}),
            ),
            json!({"spec": {"hostname": "b"}}),
            false,
        ),
        (
            manifest("v1", "Service", json!({"spec": {"ports": [{"port": 80}], "clusterIP": "None"}})),
            json!({"spec": {"clusterIP": "10.0.0.77"}}),
            false,
        ),
        (manifest("v1", "PersistentVolumeClaim", claim), json!({"spec": {"storageClassName": "b"}}), false),
        (manifest("v1", "PersistentVolume", volume), json!({"spec": {"nfs": {"server": "b"}}}), false),
        (
            manifest("v1", "ConfigMap", json!({"immutable": true, "data": {"a": "b"}})),
            json!({"data": {"a": "c"}}),
            false,
        ),
        (
            manifest("v1", "ConfigMap", json!({"immutable": true, "data": {"a": "b"}})),
            json!({"metadata": {"labels": {"a": "b"}}}),
            true,
        ),
        (
            manifest("v1", "Secret", json!({"immutable": true, "data": {"a": "Yg=="}})),
            json!({"data": {"a": "Yw=="}}),
            false,
        ),
        (
            manifest("v1", "Secret", json!({"type": "a.example/b", "data": {"a": "Yg=="}})),
            json!({"type": "a.example/c"}),
            false,
        ),
        (manifest(rbac, "RoleBinding", subjects.clone()), json!({"roleRef": {"name": "edit"}}), false),
        (manifest(rbac, "ClusterRoleBinding", subjects), json!({"roleRef": {"name": "edit"}}), false),
        (
            manifest(
                "storage.k8s.io/v1",
                "StorageClass",
                json!({"provisioner": "a.example/a", "parameters": {"a": "b"}}),
            ),
            json!({"parameters": {"a": "c"}}),
            false,
        ),
        (
            manifest("storage.k8s.io/v1", "StorageClass", json!({"provisioner": "a.example/a"})),
            json!({"allowVolumeExpansion": true}),
            true,
        ),
        (manifest("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 1})), json!({"value": 2}), false),
        (manifest("node.k8s.io/v1", "RuntimeClass", json!({"handler": "a"})), json!({"handler": "b"}), false),
        (
            manifest("networking.k8s.io/v1", "IngressClass", json!({"spec": {"controller": "a.example/a"}})),
            json!({"spec": {"controller": "a.example/b"}}),
            false,
        ),
        (
            manifest(
                "discovery.k8s.io/v1",
                "EndpointSlice",
                json!({"addressType": "IPv4", "endpoints": [], "ports": []}),
            ),
            json!({"addressType": "IPv6"}),
            false,
        ),
        (
            manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd),
            json!({"spec": {"scope": "Cluster"}}),
            false,
        ),
    ]
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[tokio::test]
async fn a_server_refuses_just_the_changes_that_notes_warn_of() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-immutable").await?;
    let mut wrong = Vec::new();
    for (n, (mut base, change, taken)) in changes().into_iter().enumerate() {
        if !base["metadata"]["name"].as_str().unwrap().contains('.') {
            base["metadata"]["name"] = format!("objects-{n}").into();
        }
        cluster.apply(&base, &ours()).await?;
        if base["kind"] == "CustomResourceDefinition" {
            healthy(&cluster, &base).await?;
        }
        let mut after = base.clone();
        merge(&mut after, &change);
        let answer = cluster.apply(&after, &ours().force().dry_run()).await;
        let found = immutable_changes(&key(&base), &base, &after);
        if answer.is_ok() != taken || found.is_empty() != taken {
            let answer = answer.map(|_| "taken").map_err(|error| error.to_string());
            wrong.push(format!("{} {change}: {answer:?}; we say {found:?}", base["kind"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn reduced(cluster: &Cluster, manifest: &Value) -> Result<Reduced> {
    let observer = Observer { manager: US, set: None, ignored: &[] };
    Ok(observer.reduce(&kind(manifest), &cluster.get(manifest).await?).unwrap())
}

async fn healthy(cluster: &Cluster, manifest: &Value) -> Result<()> {
    wait_for(&format!("a healthy {}", manifest["kind"]), SOON, async || {
        Ok((reduced(cluster, manifest).await?.verdict == Verdict::Healthy).then_some(()))
    })
    .await
}

#[tokio::test]
async fn workloads_become_healthy_and_say_why_they_do_not() -> Result<()> {
    let cluster = Cluster::new(shared("alpha").await?, "objects-health").await?;
    let job = json!({"spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "a", "image": "registry.example/a:1"}]}}}});
    let all = [
        manifest("apps/v1", "Deployment", workload("web", json!({"replicas": 2}))),
        manifest("apps/v1", "StatefulSet", workload("set", json!({"serviceName": "a", "replicas": 2}))),
        manifest("apps/v1", "DaemonSet", workload("daemon", json!({}))),
        manifest("apps/v1", "ReplicaSet", workload("replica", json!({}))),
        manifest("batch/v1", "Job", job),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
        ),
    ];
    for manifest in &all {
        cluster.apply(manifest, &ours()).await?;
    }
    for manifest in &all {
        healthy(&cluster, manifest).await?;
    }
    // A new generation is judged anew, at once: never by the status of the old one.
    let mut changed = all[0].clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/a:2".into();
    let answer = cluster.apply(&changed, &ours()).await?;
    let observer = Observer { manager: US, set: None, ignored: &[] };
    let verdict = observer.reduce(&kind(&changed), &answer).unwrap().verdict;
    assert!(matches!(verdict, Verdict::Progressing(_)), "{verdict:?}");
    healthy(&cluster, &changed).await?;

    let mut stuck =
        manifest("apps/v1", "Deployment", workload("stuck", json!({"progressDeadlineSeconds": 1})));
    stuck["metadata"]["name"] = "stuck".into();
    stuck["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "such-node"});
    cluster.apply(&stuck, &ours()).await?;
    let reason = wait_for("the failure of a Deployment", SOON, async || {
        let verdict = reduced(&cluster, &stuck).await?.verdict;
        Ok(if let Verdict::Failed(reason) = verdict { Some(reason) } else { None })
    })
    .await?;
    assert!(reason.starts_with("progress deadline exceeded: 0 of 1 replicas available; "), "{reason}");
    Ok(())
}
