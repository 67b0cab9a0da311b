//! More kinds than one HTTP/2 connection carries watches.

use std::time::Duration;

use super::{Kubeconfigs, Small, config_map, namespace, runs, value};
use crate::harness::{ControlPlane, Options, Wire};
use crate::world::eventually;

/// A connection carries 100 requests at a time; each kind has a watch.
const KINDS: usize = 120;
/// A server takes some time to serve so many new kinds.
const LONG: Duration = Duration::from_secs(300);

fn crd(number: usize) -> String {
    format!(
        "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gauge{number}s.many.example.com}}
spec:
  group: many.example.com
  names: {{kind: Gauge{number}, plural: gauge{number}s}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{level: {{type: integer}}}}}}}}}}}}
"
    )
}

fn gauges(ns: &str, level: usize) -> String {
    let gauge = |number| {
        format!(
            "apiVersion: many.example.com/v1\nkind: Gauge{number}\nmetadata: {{name: tank, namespace: {ns}}}\nspec: {{level: {level}}}\n"
        )
    };
    (0..KINDS).map(gauge).collect::<Vec<_>>().join("---\n")
}

/// Two connections; one that lost a race at the start may be about to close.
async fn connected(wire: &Wire, why: &str) {
    eventually(why, super::SOON, async || match wire.connections() {
        2 => Ok(()),
        other => Err(format!("{other} connections")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_kinds_than_a_connection_carries_stall_nothing() {
    let options = Options { controllers: false, users: Vec::new() };
    let plane = ControlPlane::start("many-kinds", options).await.unwrap();
    let ns = "many-kinds";
    let wire = Wire::to(&plane).await.unwrap();
    let kubeconfigs = Kubeconfigs::empty();
    wire.write_kubeconfig(&plane, &kubeconfigs.path().join("edge-001.yaml")).unwrap();
    let mut small = Small::with(kubeconfigs, ns);
    let converged = async |small: &Small, commit: &str| {
        small.daemon.until(commit, LONG, |status| runs(status, commit, &["edge-001"])).await
    };
    let crds = (0..KINDS).map(crd).collect::<Vec<_>>().join("---\n");
    let first = small
        .repo
        .edit("fleets/retail.yaml", "progressDeadline: 15s", "progressDeadline: 2m")
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "a"))
        .write("profiles/app/app/crds.yaml", &crds)
        .write("profiles/app/app/gauges.yaml", &gauges(ns, 1))
        .push("Many kinds");
    small.daemon.start();
    converged(&small, &first).await;
    connected(&wire, "one more for so many watches").await;

    // With all watches open there is room for writes: all are changed, and drift in any kind is seen and healed.
    let second = small
        .repo
        .write("profiles/app/app/gauges.yaml", &gauges(ns, 2))
        .write("profiles/app/app/map.yaml", &config_map(ns, "map", "b"))
        .push("All changed");
    converged(&small, &second).await;
    assert_eq!(value(&plane, ns, "map").await.as_deref(), Some("b"));
    for number in [0, 60, 90, KINDS - 1] {
        let kind = format!("gauge{number}s.many.example.com");
        let theirs = ["patch", &kind, "tank", "-n", ns, "--type=merge", "-p", r#"{"spec":{"level":9}}"#];
        plane.kubectl(&theirs).await.unwrap();
        eventually(&format!("{kind} is healed"), super::SOON, async || {
            let get = ["get", &kind, "tank", "-n", ns, "-o", "jsonpath={.spec.level}"];
            let level = plane.kubectl(&get).await.map_err(|error| error.to_string())?;
            if level == "2" { Ok(()) } else { Err(level) }
        })
        .await;
    }
    connected(&wire, "none for each request").await;

    // A daemon that starts with all of them writes nothing.
    let mark = plane.audit().mark().await.unwrap();
    assert!(small.daemon.stop().success());
    small.daemon.start();
    converged(&small, &second).await;
    let ours = plane.audit().since(mark).await.unwrap().agent("fairlead/");
    assert_eq!(ours.verb("patch").count(), 0, "{}", ours.lines());
}
