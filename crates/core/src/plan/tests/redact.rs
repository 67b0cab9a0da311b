//! A secret's value is nowhere to be seen.

use super::*;
use crate::plan::offline::{FleetPlan, Member, Rules, against, compare, print};
use crate::plan::{diff, scrub};

/// Two values, in clear and in base64.
const CANARIES: [&str; 4] = ["canary-one", "Y2FuYXJ5LW9uZQ==", "canary-two", "Y2FuYXJ5LXR3bw=="];

fn secret(canary: &str, encoded: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "s", "namespace": "shop", "labels": {"app": "web"}, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"stringData\":{{\"k\":\"{canary}\"}}}}"),
            "note": canary}},
        "data": {"binary": encoded, "same": "c2FtZQ=="}, "stringData": {"text": canary},
        "stringdata": {"misspelt": canary}, "extra": [canary],
    })
}

fn assert_clean(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in {text}");
    }
    assert!(!text.contains("c2FtZQ=="), "{text}");
}

#[test]
fn a_secrets_diff_says_which_values_changed_and_nothing_else() {
    let (old, new) = (secret(CANARIES[0], CANARIES[1]), secret(CANARIES[2], CANARIES[3]));
    let text = diff("Secret", Some(&old), Some(&new));
    assert_clean(&text);
    assert!(
        text.contains("-  binary: (redacted)\n+  binary: (redacted, changed)\n   same: (redacted)"),
        "{text}"
    );
    for side in [diff("Secret", None, Some(&new)), diff("Secret", Some(&old), None)] {
        assert_clean(&side);
        assert!(
            side.contains("app: web") && side.contains("type: Opaque") && side.contains("text: (redacted)")
        );
    }
    // An item of a list does not say its kind.
    let mut item = old.clone();
    item.as_object_mut().unwrap().remove("kind");
    assert_clean(&diff("Secret", Some(&item), None));
    for broken in
        [json!("canary-one"), json!({"kind": "Secret", "data": "canary-one", "metadata": ["canary-one"]})]
    {
        assert_clean(&diff("Secret", Some(&broken), Some(&new)));
    }
    let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "canary-one", "note": "seen"}}});
    let text = diff("ConfigMap", None, Some(&copy));
    assert_clean(&text);
    assert!(text.contains("note: seen"));
}

#[test]
fn no_rendering_of_any_plan_shows_a_secret() {
    let versions = [secret(CANARIES[0], CANARIES[1]), secret(CANARIES[2], CANARIES[3])];
    let [old, new] = versions.map(|secret| release(vec![layer("shop", &[], vec![object(&secret)])]));
    let nothing = release(vec![layer("shop", &[], vec![])]);
    let rules = BTreeMap::from([("retail".parse().unwrap(), Rules::default())]);
    let mut plans: Vec<FleetPlan> = vec![
        compare([&old], [&new], &rules),
        compare([&nothing], [&new], &rules),
        compare([&old], [&nothing], &rules),
    ];
    let object = &old.layers[0].content.objects[0];
    let live: Value = serde_json::from_slice(&object.bytes).unwrap();
    for (after, what) in [(&new, "changed"), (&nothing, "removed")] {
        let mut world = World::at(&old);
        world.assignment.policy.prune.allow_empty = true;
        let plan = world.plan(after);
        let values = BTreeMap::from([(object.key.clone(), live.clone())]);
        let owned = |_: &Value| vec!["/data/binary".to_owned(), "/extra".to_owned()];
        let change = against(after, &plan, &world.inventory, &values, owned);
        assert!(serde_json::to_string(&change).unwrap().contains(what), "{change:?}");
        let member = Member { fleet: "retail".parse().unwrap(), target: "edge-001".parse().unwrap() };
        plans.push(FleetPlan::of([(member, change)]));
    }
    for plan in &plans {
        let json = serde_json::to_string_pretty(plan).unwrap();
        for text in [print::text(plan), print::plain(plan), print::markdown(plan), json, format!("{plan:?}")]
        {
            assert_clean(&text);
            assert!(text.contains("Secret") && text.contains("redacted"), "{text}");
        }
    }
}

#[test]
fn a_refusal_is_scrubbed_of_the_objects_own_values() {
    let secret = secret(CANARIES[0], CANARIES[1]);
    let text = "Secret \"s\" is invalid: data[binary]: Invalid value: \"Y2FuYXJ5LW9uZQ==\" (canary-one)";
    let clean = scrub(text, "Secret", &secret);
    assert_eq!(clean, "Secret \"s\" is invalid: data[binary]: Invalid value: \"(redacted)\" ((redacted))");
    let quoted = json!({"kind": "Secret", "stringData": {"k": "a \"quoted\"\nline"}});
    assert_eq!(scrub(r#"bad: "a \"quoted\"\nline""#, "Secret", &quoted), r#"bad: "(redacted)""#);
    let short = json!({"kind": "Secret", "stringData": {"pin": "123"}});
    assert_eq!(scrub("bad value 123", "Secret", &short), "(redacted)");
    assert_eq!(scrub("bad value 124", "Secret", &short), "bad value 124");
    assert_eq!(scrub("canary-one", "ConfigMap", &json!({"data": {"k": "canary-one"}})), "canary-one");
}
