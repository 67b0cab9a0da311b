//! Objects that were there before, and the way out: `fairlead adopt`, `fairlead leave`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PROFILE, SOON, Small, config_map, eventually, target};
use crate::harness::{ControlPlane, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_adopted_or_held_and_leaving_gives_everything_up() {
    let plane = shared("alpha").await.unwrap();
    let ns = "adopts";
    let mut small = Small::new(plane, ns);
    plane.create_namespace(ns).await.unwrap();
    for (name, value) in [("same", "a"), ("other", "theirs")] {
        plane.kubectl_with_input(&["apply", "-f", "-"], &config_map(ns, name, value)).await.unwrap();
    }
    let before = map(plane, ns, "same").await;
    // creationTimestamps are whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;

    // Without a conflict: ours, and theirs too.
    small
        .repo
        .write("profiles/app/app/same.yaml", &config_map(ns, "same", "a"))
        .write("profiles/app/app/fresh.yaml", &config_map(ns, "fresh", "a"));
    let adopted = small.repo.push("What kubectl had made");
    small.daemon.start();
    small.converged(&adopted).await;
    let same = map(plane, ns, "same").await;
    assert_eq!(same["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(is_ours(&same), "{same:#}");

    // Adopted objects are released when they leave the release; what we made is deleted.
    small.repo.remove("profiles/app/app/same.yaml").remove("profiles/app/app/fresh.yaml");
    small.repo.write("profiles/app/app/kept.yaml", &config_map(ns, "kept", "a"));
    let released = small.repo.push("Without them");
    small.converged(&released).await;
    assert_given_up(&map(plane, ns, "same").await, "a");
    assert!(plane.kubectl(&["get", "configmap", "fresh", "-n", ns]).await.is_err());

    // A conflict holds, and says with whom.
    small.repo.write("profiles/app/app/other.yaml", &config_map(ns, "other", "ours"));
    let conflict = small.repo.push("One that kubectl owns");
    let status =
        small.daemon.until("held", SOON, |status| target(status, "edge-001")["status"] == "held").await;
    let reason = target(&status, "edge-001")["reason"].as_str().unwrap();
    for word in ["ConfigMap adopts/other", "kubectl-client-side-apply", ".data.value", "fairlead adopt"] {
        assert!(reason.contains(word), "no {word} in: {reason}");
    }
    let table = small.daemon.command(&["status"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("held") && table.contains("kubectl-client-side-apply"), "{table}");
    // As long as nobody says so, nobody is forced: not by a restart either.
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.daemon.until("still held", SOON, |status| target(status, "edge-001")["status"] == "held").await;
    assert_eq!(map(plane, ns, "other").await["data"]["value"], "theirs");

    let done = small.daemon.command(&["adopt", "edge-001", "--reason", "kubectl was the old way"]);
    assert!(done.status.success(), "{done:?}");
    small.converged(&conflict).await;
    let other = map(plane, ns, "other").await;
    assert_eq!(other["data"]["value"], "ours");
    assert!(is_ours(&other), "{other:#}");

    // Leaving: no label, no annotation, no field of ours, no ledger; the objects stay.
    assert_eq!(ledgers(plane, ns).await, 1);
    let done = small.daemon.command(&["leave", "edge-001", "--reason", "sold"]);
    assert!(done.status.success(), "{done:?}");
    let gone = |status: &Value| {
        target(status, "edge-001")["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("took everything away"))
    };
    small.daemon.until("it has left", SOON, gone).await;
    assert_given_up(&map(plane, ns, "other").await, "ours");
    assert_given_up(&map(plane, ns, "kept").await, "a");
    assert_eq!(ledgers(plane, ns).await, 0);

    // A restart does not take it up again, and nobody heals what others do.
    assert!(small.daemon.stop().success());
    small.daemon.start();
    small.daemon.until("it has left, still", SOON, gone).await;
    let patch = ["patch", "configmap", "kept", "-n", ns, "-p", r#"{"data":{"value":"free"}}"#];
    plane.kubectl(&patch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_given_up(&map(plane, ns, "kept").await, "free");

    // Until someone says so.
    let done = small.daemon.command(&["retry", "retail", "--reason", "bought back"]);
    assert!(done.status.success(), "{done:?}");
    small.daemon.until("it is back", SOON, |status| !gone(status)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_over_is_ours_in_full() {
    let plane = shared("alpha").await.unwrap();
    let ns = "row-24-taken";
    let mut small = Small::new(plane, ns);
    plane.create_namespace(ns).await.unwrap();
    let with = |name: &str, fields: &str| {
        config_map(ns, name, "a").replace("value: \"a\"", &format!("value: \"a\"{fields}"))
    };
    // As two other tools had made them: with all that Git has, in just these values, and with more.
    let names = ["by-kubectl", "by-apply", "shared"];
    for (name, how) in names.into_iter().zip([&["apply"][..], &["apply", "--server-side"], &["create"]]) {
        let old = with(name, ", soon: gone, never: \"in Git\"");
        plane.kubectl_with_input(&[how, &["-f", "-"]].concat(), &old).await.unwrap();
        let bot = ["annotate", "configmap", name, "-n", ns, "cost-centre=42", "--field-manager=cost-bot"];
        plane.kubectl(&bot).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let profile = PROFILE.replace(
        "  - {name: app, type: addon, manifests: {path: app}}",
        "  - {name: app, type: addon, adopt: true, manifests: {path: app}}\n  - {name: more, type: addon, manifests: {path: more}}",
    );
    small
        .repo
        .write("profiles/app/profile.yaml", &profile)
        .write("profiles/app/app/one.yaml", &with("by-kubectl", ", soon: gone"))
        .write("profiles/app/app/two.yaml", &with("by-apply", ", soon: gone"))
        .write("profiles/app/more/three.yaml", &with("shared", ", soon: gone"));
    let first = small.repo.push("What others had made");
    small.daemon.start();
    small.converged(&first).await;
    // What only the old manager had is gone with it, where the layer takes over; a bot's own field stays.
    let data = async |name: &str| map(plane, ns, name).await["data"].clone();
    assert_eq!(data("by-kubectl").await, json!({"value": "a", "soon": "gone"}));
    assert_eq!(data("by-apply").await, json!({"value": "a", "soon": "gone"}));
    assert_eq!(data("shared").await, json!({"value": "a", "soon": "gone", "never": "in Git"}));

    // Where nobody said so, it is shared until a person takes it over.
    let done = small.daemon.command(&["adopt", "edge-001", "--reason", "all of it"]);
    assert!(done.status.success(), "{done:?}");
    eventually("it is taken over", SOON, async || {
        let found = data("shared").await;
        if found == json!({"value": "a", "soon": "gone"}) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;

    small
        .repo
        .write("profiles/app/app/one.yaml", &with("by-kubectl", ""))
        .write("profiles/app/app/two.yaml", &with("by-apply", ""))
        .write("profiles/app/more/three.yaml", &with("shared", ""));
    let second = small.repo.push("Without the field");
    small.converged(&second).await;
    for name in names {
        let object = map(plane, ns, name).await;
        assert_eq!(object["data"], json!({"value": "a"}), "{name}");
        assert_eq!(object["metadata"]["annotations"]["cost-centre"], "42", "{name}");
        let managers = object["metadata"]["managedFields"].as_array().unwrap();
        let managers: Vec<_> = managers.iter().filter_map(|entry| entry["manager"].as_str()).collect();
        assert!(
            managers.iter().all(|one| one.starts_with("fairlead-") || *one == "cost-bot"),
            "{managers:?}"
        );
    }
}

/// An object as the server has it, with its managed fields.
pub(super) async fn map(plane: &ControlPlane, namespace: &str, name: &str) -> Value {
    let get = ["get", "configmap", name, "-n", namespace, "-o", "json", "--show-managed-fields"];
    serde_json::from_str(&plane.kubectl(&get).await.unwrap()).unwrap()
}

fn is_ours(object: &Value) -> bool {
    let meta = &object["metadata"];
    let label = &meta["labels"]["applyset.kubernetes.io/part-of"];
    label.as_str().is_some_and(|set| set.starts_with("applyset-"))
        && meta["annotations"]["fairlead.dev/digest"].is_string()
}

fn assert_given_up(object: &Value, value: &str) {
    assert_eq!(object["data"]["value"], value);
    assert_eq!(object["metadata"]["labels"]["applyset.kubernetes.io/part-of"], json!(null), "{object:#}");
    assert_eq!(object["metadata"]["annotations"]["fairlead.dev/digest"], json!(null), "{object:#}");
    let managers = object["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("fairlead-"), "{object:#}");
}

/// How many ledgers an instance has.
async fn ledgers(plane: &ControlPlane, instance: &str) -> usize {
    let selector = format!("fairlead.dev/instance={instance}");
    let get = ["get", "configmap", "-n", "fairlead-system", "-l", &selector, "-o", "name"];
    plane.kubectl(&get).await.unwrap().lines().count()
}
