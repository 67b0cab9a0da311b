//! What leaves, what hinders that, and what stands in the way of the way back.

use fairlead_core::model::assignment::FactBody;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{Result, shared, wait_for};

fn failed(fact: &FactBody) -> bool {
    matches!(fact, FactBody::Failed { .. })
}

/// What was last said of dropped objects that are still there.
fn left(heard: &[FactBody]) -> Vec<String> {
    let kept = heard.iter().rev().find_map(|fact| match fact {
        FactBody::Kept { objects, .. } => Some(objects.iter().map(ToString::to_string).collect()),
        _ => None,
    });
    kept.unwrap_or_default()
}

/// Webhooks that fail closed and that nobody answers: of the test's ConfigMaps, and with `ledger` of its ledger.
fn dead_webhook(world: &World, policy: &str, resource: &str, ledger: bool) -> Value {
    let hook = |name: &str, namespace: &str, objects: Value| {
        json!({"name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": policy, "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "objectSelector": objects, "clientConfig": {"url": "https://127.0.0.1:1/v"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": [resource],
                "operations": ["CREATE", "UPDATE"]}]})
    };
    let mut hooks = vec![hook("maps", &world.namespace, json!({}))];
    if ledger {
        let ours = json!({"matchLabels": {"fairlead.dev/instance": world.instance}});
        hooks.push(hook("ledger", "fairlead-system", ours));
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": world.namespace}, "webhooks": hooks})
}

async fn there(world: &World, kind: &str, name: &str) -> bool {
    world.plane().kubectl(&["get", kind, name]).await.is_ok()
}

async fn is_there(world: &World, kind: &str, name: &str) -> Result<()> {
    wait_for(&format!("{kind} {name}"), SOON, async || Ok(there(world, kind, name).await.then_some(()))).await
}

#[tokio::test]
async fn a_webhook_that_nobody_answers_goes_first() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-webhook").await?;
    let good = world.converge(vec![world.cm("map", "a")]).await;
    for (ledger, restart) in [(false, false), (true, false), (true, true)] {
        let hook = dead_webhook(&world, "Fail", "configmaps", ledger);
        let bad = world.release(&[("app", &[], vec![world.cm("map", "b"), hook])]);
        world.assign(&bad);
        is_there(&world, "validatingwebhookconfiguration", "prune-webhook").await?;
        if restart {
            world.kill().await;
            world.start();
        }
        world.assign(&good);
        let heard = world.converged().await;
        assert!(!heard.iter().any(failed), "{heard:#?}");
        assert!(!there(&world, "validatingwebhookconfiguration", "prune-webhook").await);
        assert_eq!(world.map("map").await?.unwrap()["data"]["key"], "a");
    }
    Ok(())
}

#[tokio::test]
async fn what_blocks_is_put_back_first_whatever_its_layer_waits_for() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-put-back").await?;
    let policy = |world: &World, expression: &str| {
        let name = &world.namespace;
        let api = "admissionregistration.k8s.io/v1";
        let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps"]}]);
        let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
        vec![
            json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
                "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules},
                    "validations": [{"expression": expression}]}}),
            json!({"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
                "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here}}),
        ]
    };
    let hook =
        |world: &World, policy: &str, resource: &str| vec![dead_webhook(world, policy, resource, false)];
    let mut steps = vec![("a", hook(&world, "Fail", "configmaps"))];
    steps.push(("b", hook(&world, "Ignore", "configmaps")));
    steps.push(("b", hook(&world, "Fail", "configmaps")));
    steps.push(("c", hook(&world, "Fail", "secrets")));
    steps.push(("c", policy(&world, "false")));
    steps.push(("d", policy(&world, "true")));
    for (value, last) in steps {
        let base = vec![world.cm("map", value)];
        let release = world.release(&[("base", &[], base), ("last", &["base"], last)]);
        world.assign(&release);
        let heard = world.converged().await;
        assert!(!heard.iter().any(failed), "{value}: {heard:#?}");
        assert_eq!(world.map("map").await?.unwrap()["data"]["key"], value);
        // Servers hear of policies a moment later.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_quota_that_is_dropped_or_raised_stands_in_nobodys_way() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-quota").await?;
    let quota = |world: &World, count: &str| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": world.namespace},
            "spec": {"hard": {"count/secrets": count}}})
    };
    let secret = |world: &World, name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": world.namespace}});
    let steps = [(1, Some("1")), (2, Some("2")), (3, None), (3, Some("3")), (4, Some("4"))];
    for (count, hard) in steps {
        let secrets = (0..count).map(|n| secret(&world, &format!("s-{n}"))).collect();
        let last: Vec<Value> = hard.map(|hard| quota(&world, hard)).into_iter().collect();
        let release = world.release(&[("base", &[], secrets), ("last", &["base"], last)]);
        world.assign(&release);
        let heard = world.converged().await;
        assert!(!heard.iter().any(failed), "{count}: {heard:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_only_waits_to_be_gone_fails_nothing_and_is_named() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-finalizer").await?;
    let stuck = |world: &World| {
        let mut stuck = world.cm("stuck", "a");
        stuck["metadata"]["finalizers"] = json!(["example.com/keep"]);
        stuck
    };
    world.converge(vec![world.cm("map", "a"), stuck(&world)]).await;
    let first = world.map("stuck").await?.unwrap()["metadata"]["uid"].clone();
    // The commit that drops it, one after that, and one after a restart.
    for value in ["b", "c", "d"] {
        if value == "d" {
            world.kill().await;
            world.start();
        }
        let release = world.release(&[("app", &[], vec![world.cm("map", value)])]);
        world.assign(&release);
        let heard = world.converged().await;
        let left = left(&heard);
        assert!(!heard.iter().any(failed), "{heard:#?}");
        assert_eq!(left.len(), 1, "{heard:#?}");
        assert!(
            left[0].starts_with("ConfigMap prune-finalizer/stuck is still being deleted (finalizers: example.com/keep, since 20"),
            "{left:?}"
        );
        assert_eq!(world.map("map").await?.unwrap()["data"]["key"], value);
    }
    // It is wanted back: that is said, is no failure, and goes on by itself.
    let back = world.release(&[("app", &[], vec![world.cm("map", "e"), stuck(&world)])]);
    world.assign(&back);
    let says = |fact: &FactBody| {
        matches!(fact, FactBody::Stalled { reason, .. }
            if reason.contains("stuck is still being deleted (finalizers: example.com/keep") && reason.contains("created again"))
    };
    let heard = world.until("it waits", says).await;
    assert!(!heard.iter().any(failed), "{heard:#?}");
    assert_eq!(world.map("map").await?.unwrap()["data"]["key"], "e");
    world.meddle("stuck", &json!({"metadata": {"finalizers": null}})).await?;
    let heard = world.converged().await;
    assert_eq!(left(&heard), Vec::<String>::new());
    assert_ne!(world.map("stuck").await?.unwrap()["metadata"]["uid"], first);
    // Dropped again, and let go after the release has converged: it goes by itself, and nothing is left to say.
    world.converge(vec![world.cm("map", "f")]).await;
    world.meddle("stuck", &json!({"metadata": {"finalizers": null}})).await?;
    let gone = |fact: &FactBody| matches!(fact, FactBody::Kept { objects, .. } if objects.is_empty());
    world.until("it is gone", gone).await;
    assert!(world.map("stuck").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_refused_deletion_fails_nothing_and_is_tried_again() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-refused").await?;
    let name = world.namespace.clone();
    world.converge(vec![world.cm("map", "a"), world.cm("kept", "a")]).await;
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  failurePolicy: Fail\n  matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], \
         operations: [DELETE], resources: [configmaps]}}]}}\n  validations: [{{expression: 'false', message: not today}}]\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\n\
         spec: {{policyName: {name}, validationActions: [Deny], matchResources: {{namespaceSelector: {{matchLabels: \
         {{kubernetes.io/metadata.name: {name}}}}}}}}}\n"
    );
    world.plane().kubectl_with_input(&["apply", "-f", "-"], &policy).await?;
    // It takes a moment until it holds.
    let dry = ["delete", "configmap", "kept", "-n", &name, "--dry-run=server"];
    wait_for("the policy holds", SOON, async || Ok(world.plane().kubectl(&dry).await.is_err().then_some(())))
        .await?;
    let release = world.release(&[("app", &[], vec![world.cm("map", "b")])]);
    world.assign(&release);
    let heard = world.converged().await;
    let left = left(&heard);
    assert!(!heard.iter().any(failed), "{heard:#?}");
    assert!(left.len() == 1 && left[0].contains("kept") && left[0].contains("not today"), "{left:?}");
    world.plane().kubectl(&["delete", "validatingadmissionpolicybinding", &name]).await?;
    let gone = |fact: &FactBody| matches!(fact, FactBody::Kept { objects, .. } if objects.is_empty());
    world.until("it is gone", gone).await;
    assert!(world.map("kept").await?.is_none());
    Ok(())
}

fn crd(group: &str, old: bool) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("ovens.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "ovens", "singular": "oven", "kind": "Oven", "listKind": "OvenList"},
            "versions": [{"name": "v1beta1", "served": old, "storage": old, "schema": schema},
                {"name": "v1", "served": true, "storage": !old, "schema": schema}]}})
}

fn oven(world: &World, group: &str, version: &str, name: &str, size: u32) -> Value {
    json!({"apiVersion": format!("{group}/{version}"), "kind": "Oven",
        "metadata": {"name": name, "namespace": world.namespace}, "spec": {"size": size}})
}

#[tokio::test]
async fn what_is_dropped_is_found_in_any_version_that_is_served() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-version").await?;
    let group = "prune-version.example.com";
    let old = |world: &World, name: &str| oven(world, group, "v1beta1", name, 1);
    world
        .converge(vec![crd(group, true), old(&world, "one"), old(&world, "two"), old(&world, "three")])
        .await;
    let ovens = world.api(&format!("{group}/v1"), "Oven", "ovens");

    // An operator's upgrade: one object moves on, another is dropped.
    let one = oven(&world, group, "v1", "one", 2);
    let three = oven(&world, group, "v1", "three", 2);
    let release = world.release(&[("app", &[], vec![crd(group, false), one.clone(), three])]);
    world.assign(&release);
    let heard = world.converged().await;
    assert!(!heard.iter().any(failed), "{heard:#?}");
    assert!(ovens.get_opt("two").await?.is_none() && ovens.get("one").await?.data["spec"]["size"] == 2);
    // What is watched now is what is served: drift is healed.
    ovens.delete("one", &Default::default()).await?;
    world.until("healed", |fact| matches!(fact, FactBody::Drift { healed: true, .. })).await;
    assert!(ovens.get_opt("one").await?.is_some());
    let release = world.release(&[("app", &[], vec![crd(group, false), one])]);
    world.assign(&release);
    world.converged().await;
    assert!(ovens.get_opt("three").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_kind_that_others_change_or_take_away_is_looked_at_again() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "prune-kind").await?;
    let group = "prune-kind.example.com";
    let apply = async |crd: Value| plane.kubectl_with_input(&["apply", "-f", "-"], &crd.to_string()).await;
    apply(crd(group, true)).await?;
    let old = |name: &str| oven(&world, group, "v1beta1", name, 1);
    let all = vec![world.cm("map", "a"), old("one"), old("two")];
    world.converge(all).await;
    // The cluster stops serving the version by itself.
    apply(crd(group, false)).await?;
    let ovens = world.api(&format!("{group}/v1"), "Oven", "ovens");
    let one = oven(&world, group, "v1", "one", 1);
    world.converge(vec![world.cm("map", "b"), one]).await;
    assert!(ovens.get_opt("two").await?.is_none());
    // It goes altogether: so do its objects, and what was dropped is done.
    plane.kubectl(&["delete", "crd", &format!("ovens.{group}")]).await?;
    let release = world.release(&[("app", &[], vec![world.cm("map", "c")])]);
    world.assign(&release);
    let heard = world.converged().await;
    assert!(!heard.iter().any(failed), "{heard:#?}");
    assert_eq!(left(&heard), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_others_delete_is_the_clusters_trouble() -> Result<()> {
    let plane = shared("alpha").await?;
    let mut world = World::new(plane, "prune-ns").await?;
    let inner = "prune-ns-inner";
    plane.create_namespace(inner).await?;
    let map = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": inner}, "data": {"k": value}});
    world.converge(vec![world.cm("map", "a"), map("a")]).await;
    // Somebody's object keeps it from going.
    let stays = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: stays, namespace: {inner}, finalizers: [example.com/stays]}}\n"
    );
    plane.kubectl_with_input(&["apply", "-f", "-"], &stays).await?;
    plane.kubectl(&["delete", "namespace", inner, "--wait=false"]).await?;
    wait_for("our object is gone", SOON, async || {
        Ok(plane.kubectl(&["get", "configmap", "x", "-n", inner]).await.is_err().then_some(()))
    })
    .await?;
    let release = world.release(&[("app", &[], vec![world.cm("map", "b"), map("a")])]);
    world.assign(&release);
    let says = |fact: &FactBody| {
        matches!(fact, FactBody::Stalled { reason, .. }
            if reason.contains("its namespace prune-ns-inner") && reason.contains("example.com/stays"))
    };
    let heard = world.until("it waits", says).await;
    assert!(!heard.iter().any(failed), "{heard:#?}");
    assert_eq!(world.map("map").await?.unwrap()["data"]["key"], "b");
    let none = r#"{"metadata":{"finalizers":null}}"#;
    plane.kubectl(&["patch", "secret", "stays", "-n", inner, "--type=merge", "-p", none]).await?;
    wait_for("it is gone", SOON, async || Ok((!there(&world, "namespace", inner).await).then_some(())))
        .await?;
    plane.create_namespace(inner).await?;
    let heard = world.converged().await;
    assert!(!heard.iter().any(failed), "{heard:#?}");
    plane.kubectl(&["get", "configmap", "x", "-n", inner]).await?;
    Ok(())
}

#[tokio::test]
async fn a_copied_label_makes_no_object_ours() -> Result<()> {
    let mut world = World::new(shared("alpha").await?, "prune-copy").await?;
    world.converge(vec![world.cm("map", "a"), world.cm("other", "a")]).await;
    let map = world.map("map").await?.unwrap();
    for name in ["named", "unnamed"] {
        let mut copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": map["data"], "metadata": {
            "name": name, "namespace": world.namespace, "labels": map["metadata"]["labels"],
            "annotations": map["metadata"]["annotations"]}});
        if name == "unnamed" {
            copy["data"]["key"] = json!("theirs");
        }
        world.plane().kubectl_with_input(&["apply", "-f", "-"], &copy.to_string()).await?;
    }
    // A second object was made, so that their time is another one than the intent's.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    world.converge(vec![world.cm("map", "a"), world.cm("other", "a"), world.cm("named", "a")]).await;
    world.converge(vec![world.cm("map", "a")]).await;
    let label = |map: &Value| map["metadata"]["labels"].get("applyset.kubernetes.io/part-of").is_some();
    let named = world.map("named").await?.expect("it was there before, so it is released");
    assert!(!label(&named), "{named:#}");
    assert!(world.map("other").await?.is_none());
    let unnamed = world.map("unnamed").await?.expect("nobody ever named it");
    assert!(label(&unnamed) && unnamed["data"]["key"] == "theirs");

    // A ledger that is lost is made of what was applied, not of what carries a label.
    world.kill().await;
    let ledger = world.ledger_name();
    world.plane().kubectl(&["delete", "configmap", &ledger, "-n", "fairlead-system"]).await?;
    world.start();
    world.converge(vec![world.cm("new", "a")]).await;
    assert!(world.map("map").await?.is_none());
    assert!(world.map("unnamed").await?.is_some());
    Ok(())
}
