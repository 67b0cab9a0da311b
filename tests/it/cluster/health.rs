//! The rules of health, held to what the real controllers write.

use std::time::Duration;

use fairlead_cluster::health::{Verdict, verdict};
use fairlead_core::model::assignment::FactBody;
use fairlead_core::model::object::{GroupKind, split_api_version};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{ControlPlane, FAIL_ANNOTATION, Failure, Result, shared};

/// Objects of one namespace, written as we write them.
struct Objects {
    client: kube::Client,
    namespace: String,
}

impl Objects {
    async fn new(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        plane.create_namespace(namespace).await?;
        Ok(Self { client: plane.client().await?, namespace: namespace.to_owned() })
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let (group, version) = split_api_version(object["apiVersion"].as_str().unwrap());
        let kind = object["kind"].as_str().unwrap();
        let mut resource = ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: object["apiVersion"].as_str().unwrap().into(),
            kind: kind.into(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        if kind == "Ingress" {
            resource.plural = "ingresses".into();
        }
        let cluster = ["CustomResourceDefinition", "APIService", "PersistentVolume", "Namespace"];
        match cluster.contains(&kind) {
            true => Api::all_with(self.client.clone(), &resource),
            false => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        }
    }

    async fn apply(&self, object: &Value) -> Result<i64> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let params = PatchParams::apply("fairlead-health").force();
        let applied = self.api(object).patch(name, &params, &Patch::Apply(object)).await?;
        Ok(applied.metadata.generation.unwrap_or_default())
    }

    async fn verdict(&self, object: &Value) -> Result<(Verdict, Value)> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let live = serde_json::to_value(self.api(object).get(name).await?)?;
        let (group, _) = split_api_version(object["apiVersion"].as_str().unwrap());
        let kind = GroupKind { group: group.into(), kind: object["kind"].as_str().unwrap().into() };
        Ok((verdict(&kind, &live), live))
    }

    /// Waits until an object is judged so: `ok`, `failed: ...`, `... reason` or `unbound`.
    async fn is(&self, object: &Value, wanted: &str) {
        crate::world::eventually(
            &format!("{} {} is {wanted}", object["kind"], object["metadata"]["name"]),
            SOON,
            async || {
                let (verdict, live) = self.verdict(object).await.map_err(|error| error.to_string())?;
                let fits = match &verdict {
                    Verdict::Healthy => wanted == "ok",
                    Verdict::Unbound(_) => wanted == "unbound",
                    Verdict::Terminating => false,
                    Verdict::Progressing(why) => {
                        wanted.strip_prefix("... ").is_some_and(|part| why.contains(part))
                    }
                    Verdict::Failed(why) => {
                        wanted.strip_prefix("failed: ").is_some_and(|part| why.contains(part))
                    }
                };
                if fits { Ok(()) } else { Err(format!("{verdict:?} of {live}")) }
            },
        )
        .await;
    }

    /// Applies an object and waits for a verdict.
    async fn becomes(&self, object: &Value, wanted: &str) -> Result<()> {
        self.apply(object).await?;
        self.is(object, wanted).await;
        Ok(())
    }
}

fn workload(kind: &str, name: &str, spec: Value) -> Value {
    let labels = json!({"app": name});
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": {FAIL_ANNOTATION: "none"}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]}}}});
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
    }
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

fn changed(object: &Value, failure: Option<Failure>) -> Value {
    let mut object = object.clone();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:2");
    let failure = failure.map_or("none", Failure::as_str);
    object["spec"]["template"]["metadata"]["annotations"][FAIL_ANNOTATION] = json!(failure);
    object
}

#[tokio::test]
async fn deployments_are_judged_as_their_controller_means_it() -> Result<()> {
    let all = Objects::new(shared("alpha").await?, "health-deployments").await?;
    let web = workload("Deployment", "web", json!({"replicas": 3}));
    all.becomes(&web, "ok").await?;
    all.becomes(&changed(&web, None), "ok").await?;

    // The old pods are asked to stay.
    let mut paused = web.clone();
    paused["spec"]["paused"] = json!(true);
    all.becomes(&paused, "ok").await?;
    all.becomes(&workload("Deployment", "none", json!({"replicas": 0})), "ok").await?;
    let surge =
        json!({"replicas": 2, "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}});
    let surge = workload("Deployment", "surge", surge);
    all.becomes(&surge, "ok").await?;
    all.becomes(&changed(&surge, Some(Failure::Pull)), "... replicas").await?;

    // Going back from a failure is no failure, although the controller leaves its condition for a while.
    let late = workload("Deployment", "late", json!({"replicas": 1, "progressDeadlineSeconds": 2}));
    all.becomes(&late, "ok").await?;
    all.becomes(&changed(&late, Some(Failure::Pull)), "failed: progress deadline exceeded").await?;
    all.apply(&late).await?;
    loop {
        match all.verdict(&late).await? {
            (Verdict::Healthy, _) => break,
            (Verdict::Failed(why), live) => panic!("{why}: {live}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    Ok(())
}

#[tokio::test]
async fn sets_are_judged_as_their_controllers_mean_it() -> Result<()> {
    let all = Objects::new(shared("alpha").await?, "health-sets").await?;
    let ordered = workload("StatefulSet", "ordered", json!({"replicas": 2}));
    all.becomes(&ordered, "ok").await?;
    all.becomes(&changed(&ordered, None), "ok").await?;
    let by_hand =
        workload("StatefulSet", "by-hand", json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}));
    all.becomes(&by_hand, "ok").await?;
    all.becomes(&changed(&by_hand, None), "ok").await?;
    // A partition counts from the first pod, wherever ordinals start.
    let part = json!({"replicas": 3, "ordinals": {"start": 5},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    let part = workload("StatefulSet", "part", part);
    all.becomes(&part, "ok").await?;
    let generation = all.apply(&changed(&part, None)).await?;
    all.is(&part, "ok").await;
    let (_, live) = all.verdict(&part).await?;
    assert_eq!(live["status"]["observedGeneration"], generation, "{live}");
    assert_eq!(live["status"]["updatedReplicas"], 1, "{live}");

    all.becomes(&workload("DaemonSet", "agent", json!({})), "ok").await?;
    let mut nowhere = workload("DaemonSet", "nowhere", json!({}));
    nowhere["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "such"});
    all.becomes(&nowhere, "ok").await?;
    let by_hand = workload("DaemonSet", "by-hand", json!({"updateStrategy": {"type": "OnDelete"}}));
    all.becomes(&by_hand, "ok").await?;
    all.becomes(&changed(&by_hand, None), "ok").await?;
    all.becomes(
        &changed(&workload("DaemonSet", "agent", json!({})), Some(Failure::Crash)),
        "... 0 of 1 replica",
    )
    .await?;
    all.becomes(&workload("ReplicaSet", "plain", json!({"replicas": 2})), "ok").await?;
    let mut old =
        workload("ReplicationController", "old", json!({"replicas": 1, "selector": {"app": "old"}}));
    old["apiVersion"] = json!("v1");
    all.becomes(&old, "ok").await
}

fn job(name: &str, failure: Option<Failure>, spec: Value) -> Value {
    let failure = failure.map_or("none", Failure::as_str);
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
        "template": {"metadata": {"annotations": {FAIL_ANNOTATION: failure}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "registry.example/job:1"}]}}}});
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

#[tokio::test]
async fn jobs_and_pods_are_judged_as_their_controllers_mean_it() -> Result<()> {
    let all = Objects::new(shared("alpha").await?, "health-jobs").await?;
    all.becomes(&job("done", None, json!({})), "ok").await?;
    all.becomes(&job("later", None, json!({"suspend": true})), "ok").await?;
    let failed = job("failed", Some(Failure::Exit), json!({"backoffLimit": 0}));
    all.becomes(&failed, "failed: BackoffLimitExceeded").await?;
    let indexed = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededCount": 1}]}});
    all.becomes(&job("enough", None, indexed), "ok").await?;
    let mut daily = job("daily", None, json!({}));
    let template = json!({"spec": daily["spec"].take()});
    daily["kind"] = json!("CronJob");
    daily["spec"] = json!({"schedule": "0 3 * * *", "suspend": true, "jobTemplate": template});
    all.becomes(&daily, "ok").await?;

    let pod = |name: &str, failure: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {FAIL_ANNOTATION: failure}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example/web:1"}]}})
    };
    // Whether it is to be restarted says nothing of whether it serves.
    all.becomes(&pod("serves", "none"), "ok").await?;
    all.becomes(&pod("crashes", "crash"), "failed: crashes again and again").await?;
    all.becomes(&pod("evicted", "evict"), "failed: Evicted: The node was low").await?;
    let mut gated = pod("gated", "none");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    all.becomes(&gated, "... SchedulingGated").await
}

#[tokio::test]
async fn other_kinds_are_judged_as_their_controllers_mean_it() -> Result<()> {
    let all = Objects::new(shared("alpha").await?, "health-others").await?;
    let service = |name: &str, kind: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]}})
    };
    all.becomes(&service("inside", "ClusterIP"), "ok").await?;
    let outside = service("outside", "LoadBalancer");
    all.becomes(&outside, "... no address").await?;
    let mut ignored = outside.clone();
    ignored["metadata"]["annotations"] = json!({"fairlead.dev/health": "ignore"});
    all.becomes(&ignored, "ok").await?;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nowhere", "resources": {"requests": {"storage": "1Gi"}}}});
    all.becomes(&claim, "unbound").await?;
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "health-others"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp"}}});
    all.becomes(&volume, "ok").await?;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    all.becomes(&budget, "ok").await?;
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    all.becomes(&scaler, "ok").await?;
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "inside", "port": {"number": 80}}}}});
    all.becomes(&ingress, "ok").await?;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.health.fairlead.dev"}, "spec": {"group": "health.fairlead.dev", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    all.becomes(&crd, "ok").await?;
    let mut taken = crd.clone();
    taken["metadata"]["name"] = json!("gizmos.health.fairlead.dev");
    taken["spec"]["names"] = json!({"kind": "Gadget", "plural": "gizmos"});
    all.becomes(&taken, "failed: NamesAccepted is False").await?;
    let server = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.gone.fairlead.dev"}, "spec": {"group": "gone.fairlead.dev", "version": "v1",
            "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true,
            "service": {"name": "gone", "namespace": all.namespace}}});
    all.becomes(&server, "... Available is False: ServiceNotFound").await?;
    // A dead group delays every other test's discovery.
    all.api(&server).delete("v1.gone.fairlead.dev", &Default::default()).await?;
    all.api(&volume).delete("health-others", &Default::default()).await?;
    Ok(())
}

fn claim(world: &World, name: &str, class: Option<&str>) -> Value {
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}

fn class(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "example.test/none", "volumeBindingMode": mode})
}

/// Whether a fact says that something is waited for because of this.
fn waits(fact: &FactBody, part: &str) -> bool {
    matches!(fact, FactBody::Progress { progress, .. } if progress.waiting.iter().any(|w| w.reason.contains(part)))
}

#[tokio::test]
async fn a_claim_that_waits_for_its_consumer_is_healthy() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "health-claims").await?;
    // Its class comes with it, and the Pods in a later layer.
    let base =
        vec![class("health-late", "WaitForFirstConsumer"), claim(&world, "cache", Some("health-late"))];
    let release = world.release(&[("base", &[], base), ("app", &["base"], vec![world.cm("after", "a")])]);
    world.assign(&release);
    world.converged().await;
    let live = world.api("v1", "PersistentVolumeClaim", "persistentvolumeclaims").get("cache").await?;
    assert_eq!(live.data["status"]["phase"], "Pending");

    // The class is not there; someone else brings it.
    let objects = vec![
        class("health-late", "WaitForFirstConsumer"),
        claim(&world, "cache", Some("health-late")),
        claim(&world, "early", Some("health-missing")),
    ];
    let release = world.release(&[("base", &[], objects)]);
    world.assign(&release);
    world
        .until("its class is missing", |fact| waits(fact, "its storage class health-missing is not there"))
        .await;
    let missing = class("health-missing", "WaitForFirstConsumer");
    plane.kubectl_with_input(&["create", "-f", "-"], &missing.to_string()).await?;
    world.converged().await;

    // One that binds at once is waited for; nothing is asked again meanwhile.
    let objects = vec![class("health-now", "Immediate"), claim(&world, "now", Some("health-now"))];
    let release = world.release(&[("base", &[], objects)]);
    world.assign(&release);
    world.until("it is not bound", |fact| waits(fact, "is not bound to a volume yet")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mark = world.mark().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let asked = world.requests(mark).await?;
    assert_eq!(asked.count(), 0, "{}", asked.lines());
    Ok(())
}

#[tokio::test]
async fn the_default_class_counts_where_a_claim_names_none() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "health-default").await?;
    let release = world.release(&[("base", &[], vec![claim(&world, "cache", None)])]);
    world.assign(&release);
    world.until("there is none", |fact| waits(fact, "the cluster has no default one")).await;
    let mut default = class("health-default", "WaitForFirstConsumer");
    default["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    plane.kubectl_with_input(&["create", "-f", "-"], &default.to_string()).await?;
    world.converged().await;
    plane.kubectl(&["delete", "storageclass", "health-default"]).await?;
    Ok(())
}

#[tokio::test]
async fn where_classes_cannot_be_read_the_claims_event_tells() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "health-events").await?;
    plane
        .kubectl_with_input(
            &["create", "-f", "-"],
            &class("health-hidden", "WaitForFirstConsumer").to_string(),
        )
        .await?;
    let token = plane.mint_token("health-events", "limited").await?;
    let user = "--serviceaccount=health-events:limited";
    plane
        .kubectl(&[
            "create",
            "clusterrole",
            "health-events",
            "--verb=*",
            "--resource=configmaps,persistentvolumeclaims,namespaces",
        ])
        .await?;
    plane
        .kubectl(&["create", "clusterrolebinding", "health-events", "--clusterrole=health-events", user])
        .await?;
    let kubeconfig = plane.kubeconfig_with_token("health-events", &token)?;
    world.kill().await;
    world.set_kubeconfig(&std::fs::read_to_string(kubeconfig)?)?;
    world.start();

    let release = world.release(&[("base", &[], vec![claim(&world, "cache", Some("health-hidden"))])]);
    world.assign(&release);
    world.until("neither can be read", |fact| waits(fact, "may list neither storageclasses")).await;
    plane
        .kubectl(&["create", "role", "events", "-n", "health-events", "--verb=list", "--resource=events"])
        .await?;
    plane.kubectl(&["create", "rolebinding", "events", "-n", "health-events", "--role=events", user]).await?;
    world.converged().await;
    Ok(())
}

#[tokio::test]
async fn an_object_that_is_left_out_of_health_delays_nobody() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "health-ignored").await?;
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "outside", "namespace": world.namespace, "annotations": {"fairlead.dev/health": "ignore"}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    let release =
        world.release(&[("base", &[], vec![service]), ("app", &["base"], vec![world.cm("after", "a")])]);
    world.assign(&release);
    world.converged().await;
    Ok(())
}
