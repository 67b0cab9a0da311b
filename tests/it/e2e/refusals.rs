//! What an API server answers to mistakes, and to what is broken in a cluster: whose fault it is decides what happens.

use std::time::Duration;

use serde_json::Value;

use super::{FLEET, Kubeconfigs, SOON, Small, config_map, deployment, namespace, target, value};
use crate::harness::{Act, ControlPlane, Gate, shared};
use crate::world::eventually;

const SETTINGS: &str = "profiles/app/app/settings.yaml";

fn patient_fleet() -> String {
    FLEET.replace("progressDeadline: 15s", "progressDeadline: 30m")
}

/// Converged on a namespace and a ConfigMap, with a deadline that no test lives to see.
async fn begin(mut small: Small, ns: &str) -> (Small, String) {
    let good = small
        .repo
        .write("fleets/retail.yaml", &patient_fleet())
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(SETTINGS, &config_map(ns, "settings", "good"))
        .push("Good");
    small.daemon.start();
    small.converged(&good).await;
    (small, good)
}

async fn valued(plane: &ControlPlane, ns: &str, wanted: &str) {
    eventually(&format!("the value is {wanted}"), SOON, async || {
        let found = value(plane, ns, "settings").await;
        if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// Waits until a commit has failed for what is said, the last good release is back, and it is quarantined.
async fn undone(small: &Small, plane: &ControlPlane, ns: &str, says: &[&str]) -> Value {
    let status = small
        .daemon
        .until(&format!("quarantined for {says:?}"), SOON, |status| {
            let edge = target(status, "edge-001");
            let reason = edge["reason"].as_str().unwrap_or_default();
            edge["status"] == "quarantined" && says.iter().all(|part| reason.contains(part))
        })
        .await;
    valued(plane, ns, "good").await;
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_that_the_server_answers_500_fails_at_once_and_comes_back() {
    let plane = shared("beta").await.unwrap();
    let ns = "refused-500";
    let (small, good) = begin(Small::new(plane, ns), ns).await;
    let web = deployment(ns, "web", 1, "");
    let image = "image: example.com/main:1";
    let large = "x".repeat(1_600_000);
    let kiln = |note: &str| {
        format!(
            "apiVersion: refused.example.com/v1\nkind: Kiln\nmetadata: {{name: one, namespace: {ns}}}\nspec: {{note: \"{note}\"}}\n"
        )
    };
    let crd = CRD.to_owned();
    let cases: [(&str, Vec<String>, &[&str]); 4] = [
        (
            "text for a number",
            vec![web.replace("replicas: 1", "replicas: \"2\"")],
            &["Deployment refused-500/web", ".spec.replicas", "expected numeric"],
        ),
        (
            "a mistyped field",
            vec![web.replace("replicas: 1", "replica: 1")],
            &["Deployment refused-500/web", ".spec.replica", "not declared in schema"],
        ),
        (
            "equal names",
            vec![
                web.replace(image, &format!("{image}, env: [{{name: A, value: x}}, {{name: A, value: b}}]")),
            ],
            &["Deployment refused-500/web", "env", "duplicate"],
        ),
        ("too large", vec![crd, kiln(&large)], &["Kiln refused-500/one", "too large"]),
    ];
    for (what, bad, says) in cases {
        small.repo.write(SETTINGS, &config_map(ns, "settings", "bad"));
        for (number, text) in bad.iter().enumerate() {
            small.repo.write(&format!("profiles/app/app/bad-{number}.yaml"), text);
        }
        let commit = small.repo.push(what);
        let status = undone(&small, plane, ns, says).await;
        assert_eq!(target(&status, "edge-001")["base"]["commit"], *good, "{what}: {status:#}");
        let reason = target(&status, "edge-001")["reason"].as_str().unwrap_or_default();
        assert!(!reason.contains("failed to create typed"), "{what}: {reason}");
        small.repo.revert(&commit);
    }
    let next = small.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("Next");
    small.converged(&next).await;
    valued(plane, ns, "next").await;
}

const CRD: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kilns.refused.example.com}
spec:
  group: refused.example.com
  names: {kind: Kiln, plural: kilns}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_with_one_object_while_others_are_written_is_about_that_object() {
    let plane = shared("beta").await.unwrap();
    let ns = "refused-alone";
    let gate = Gate::before(plane).await.unwrap();
    let kubeconfigs = Kubeconfigs::empty();
    gate.write_kubeconfig(&kubeconfigs.path().join("edge-001.yaml")).unwrap();
    let (small, good) = begin(Small::with(kubeconfigs, ns), ns).await;

    // All writes are answered so: the cluster's own trouble, however long it lasts.
    gate.rule(|request| if request.method == http::Method::GET { Act::Pass } else { Act::Broken });
    small.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("Next");
    small.daemon.until("stalled", SOON, |status| target(status, "edge-001")["status"] == "stalled").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let status = small.daemon.status().unwrap();
    assert_eq!(target(&status, "edge-001")["status"], "stalled", "{status:#}");
    gate.open();
    let good_again = small.repo.write(SETTINGS, &config_map(ns, "settings", "good")).push("Good again");
    small.converged(&good_again).await;

    // One object only, and nothing else of the commit is left to write.
    gate.rule(|request| {
        let one = request.uri.path().ends_with("/configmaps/one") && request.method == http::Method::PATCH;
        if one { Act::Broken } else { Act::Pass }
    });
    small
        .repo
        .write("profiles/app/app/one.yaml", &config_map(ns, "one", "x"))
        .write(SETTINGS, &config_map(ns, "settings", "bad"))
        .push("One is broken");
    undone(&small, plane, ns, &["ConfigMap refused-alone/one", "something broke"]).await;
    assert_ne!(good, good_again);
}

const DEAD_CONVERSION: &str = "  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: 'https://127.0.0.1:1/c'}}}\n";

fn vats(conversion: &str) -> String {
    format!(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: vats.unreadable.example.com}}
spec:
  group: unreadable.example.com
  names: {{kind: Vat, plural: vats}}
  scope: Namespaced
{conversion}  versions:
  - {{name: v1, served: true, storage: false, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}
  - {{name: v1alpha1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_cannot_be_read_stops_nothing_else_and_is_named() {
    let plane = shared("beta").await.unwrap();
    let ns = "unreadable";
    let mut small = Small::new(plane, ns);
    let vat = format!(
        "apiVersion: unreadable.example.com/v1\nkind: Vat\nmetadata: {{name: one, namespace: {ns}}}\nspec: {{a: 1}}\n"
    );
    let good = small
        .repo
        .write("fleets/retail.yaml", &patient_fleet())
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/crd.yaml", &vats(""))
        .write("profiles/app/app/vat.yaml", &vat)
        .write(SETTINGS, &config_map(ns, "settings", "good"))
        .push("Good");
    small.daemon.start();
    small.converged(&good).await;
    let guilty = small
        .repo
        .write("profiles/app/app/crd.yaml", &vats(DEAD_CONVERSION))
        .push("A conversion that is not there");
    let strategy =
        ["get", "crd", "vats.unreadable.example.com", "-o", "jsonpath={.spec.conversion.strategy}"];
    let has = async |wanted: &str| {
        eventually(&format!("conversion is {wanted}"), SOON, async || {
            let found = plane.kubectl(&strategy).await.map_err(|error| error.to_string())?;
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    };
    has("Webhook").await;

    // A daemon that starts anew can't list the kind: it heals all else, and says what it can't see.
    small.daemon.kill().start();
    let named = |status: &Value| {
        let reason = target(status, "edge-001")["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("Vat")
    };
    small.daemon.until("the kind is named", SOON, named).await;
    let patch = ["patch", "configmap", "settings", "-n", ns, "-p", r#"{"data":{"value":"wrong"}}"#];
    plane.kubectl(&patch).await.unwrap();
    valued(plane, ns, "good").await;

    // Others are changed.
    small.repo.write(SETTINGS, &config_map(ns, "settings", "next")).push("Next");
    valued(plane, ns, "next").await;
    assert!(
        plane.kubectl(&["get", "vats.v1alpha1.unreadable.example.com", "-n", ns, "-o", "name"]).await.is_ok()
    );

    // And the way back works, also after another start.
    small.daemon.kill().start();
    let back = small.repo.revert(&guilty);
    has("None").await;
    let status = small.converged(&back).await;
    assert!(!named(&status), "{status:#}");
    let vat = ["get", "vats.v1.unreadable.example.com", "one", "-n", ns, "-o", "jsonpath={.spec.a}"];
    assert_eq!(plane.kubectl(&vat).await.unwrap(), "1");
}
