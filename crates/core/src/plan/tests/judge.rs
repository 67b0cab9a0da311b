//! One object at a time: what was seen and what is remembered, to what is done.

use super::*;
use crate::model::fleet::DriftMode;
use crate::plan::{HoldUntil, Verb, was_there_before};

const WEB: &str = "Deployment.apps shop/web";

/// A converged cluster with one object, changed by `change`, as `verb[!] (why)` and the origin that follows.
fn judged(change: impl FnOnce(&mut World)) -> (String, Option<Origin>) {
    let release = release(vec![layer("shop", &[], vec![plain(WEB)])]);
    let mut world = World::at(&release);
    change(&mut world);
    let plan = world.plan(&release);
    let action = &plan.layers[0].actions[0];
    let force = if action.force { "!" } else { "" };
    (format!("{}{force} ({})", action.verb, action.why), action.origin)
}

fn says(expected: &str, change: impl FnOnce(&mut World)) -> Option<Origin> {
    let (line, origin) = judged(change);
    assert_eq!(line, expected);
    origin
}

fn other_digest() -> Option<ObjectDigest> {
    Some(ObjectDigest::of([b"other".as_slice()]))
}

fn intended(world: &mut World, second: i64) {
    let entry = world.remembers(WEB);
    entry.applied = None;
    entry.fields = None;
    entry.uid = None;
    entry.origin = Origin::Intended { at: at(second), generation: 5 };
}

#[test]
fn unchanged_is_proved_by_annotation_and_entry() {
    says("unchanged (as it should be)", |_| {});
    says("heal! (someone else changed it)", |w| w.see(WEB).digest = None);
    says("heal! (someone else changed it)", |w| w.see(WEB).digest = other_digest());
    says("heal! (someone else changed it)", |w| w.see(WEB).fields = Some(fields(2)));
    says("heal! (someone else changed it)", |w| w.see(WEB).fields = None);
    says("heal! (someone else removed it or its label)", |w| w.observed.objects.clear());
    says("heal! (someone else removed it or its label)", |w| w.see(WEB).part_of = None);
    says("heal! (someone else removed it or its label)", |w| w.see(WEB).part_of = Some("typo".into()));
    says("compare! (the record of its fields was lost)", |w| w.remembers(WEB).fields = None);
    says("update! (the release changes it)", |w| {
        w.remembers(WEB).applied = other_digest();
        w.see(WEB).digest = other_digest();
    });
    // The entry's digest of other bytes proves nothing: killed between apply and result.
    says("compare! (an apply was under way when the record was lost)", |w| {
        w.remembers(WEB).applied = other_digest();
    });
    says("create! (someone else removed it or its label)", |w| {
        w.remembers(WEB).applied = other_digest();
        w.observed.objects.clear();
    });
}

#[test]
fn a_copied_label_makes_no_object_ours() {
    // Nobody of ours set a field of it, and no ledger names it: it was there before, whatever its label says.
    let adopts = "adopt (was there before; other owners: none)";
    let origin = says(adopts, |w| {
        w.inventory.objects.clear();
        w.see(WEB).fields = None;
    });
    assert_eq!(origin, Some(Origin::Adopted));
    let origin = says(adopts, |w| {
        w.inventory.objects.clear();
        (w.see(WEB).fields, w.see(WEB).digest) = (None, other_digest());
    });
    assert_eq!(origin, Some(Origin::Adopted));
    // A ledger that was lost is another thing: our fields are there.
    assert_eq!(
        says("compare! (an apply was under way when the record was lost)", |w| w.inventory.objects.clear()),
        Some(Origin::Taken)
    );
}

#[test]
fn a_change_of_what_can_block_others_goes_first_if_it_blocks_no_more() {
    let changed = |kind: &str, more: Value| {
        let before = manifest(kind);
        let mut after = before.clone();
        for (field, value) in more.as_object().unwrap() {
            after[field] = value.clone();
        }
        let release_of = |manifest: &Value| release(vec![layer("a", &[], vec![object(manifest)])]);
        let plan = World::at(&release_of(&before)).plan(&release_of(&after));
        let action = &plan.layers[0].actions[0];
        assert_eq!(action.verb, Verb::Update);
        action.unblocks
    };
    let hook = "ValidatingWebhookConfiguration.admissionregistration.k8s.io v";
    let binding = "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io b";
    let mutating = "MutatingAdmissionPolicy.admissionregistration.k8s.io m";
    let ignore = json!({"name": "a.example.com", "failurePolicy": "Ignore"});
    assert!(changed(hook, json!({"webhooks": []})));
    assert!(changed(hook, json!({"webhooks": [ignore]})));
    assert!(!changed(hook, json!({"webhooks": [ignore, {"name": "b.example.com"}]})));
    assert!(changed(binding, json!({"spec": {"validationActions": ["Audit", "Warn"]}})));
    assert!(!changed(binding, json!({"spec": {"validationActions": ["Deny"]}})));
    assert!(changed(mutating, json!({"spec": {"failurePolicy": "Ignore"}})));
    assert!(!changed(mutating, json!({"spec": {"failurePolicy": "Fail"}})));
    assert!(changed("ResourceQuota shop/q", json!({"spec": {"hard": {"pods": "9"}}})));
    assert!(!changed("ConfigMap shop/a", json!({"data": {"a": "b"}})));
}

#[test]
fn what_a_person_holds_is_not_healed_until_then() {
    let held = |until: Option<i64>, change: fn(&mut World)| {
        move |w: &mut World| {
            let by = vec!["kubectl-edit".to_owned()];
            w.see(WEB).glass = Some(Box::new(HoldUntil { until: until.map(at), by }));
            change(w);
        }
    };
    let until =
        format!("someone else changed it and keeps it from being healed until {}: kubectl-edit", at(NOW + 1));
    says("unchanged (as it should be)", held(Some(NOW + 1), |_| {}));
    says(&format!("report ({until})"), held(Some(NOW + 1), |w| w.see(WEB).fields = Some(fields(2))));
    says(&format!("report ({until})"), held(Some(NOW + 1), |w| w.see(WEB).part_of = None));
    says(
        "compare (the record of its fields was lost)",
        held(Some(NOW + 1), |w| w.remembers(WEB).fields = None),
    );
    says("heal! (someone else changed it)", held(Some(NOW), |w| w.see(WEB).fields = Some(fields(2))));
    says("heal! (someone else changed it)", held(None, |w| w.see(WEB).fields = Some(fields(2))));
    // A change is no healing.
    let change = held(Some(NOW + 1), |w| {
        w.remembers(WEB).applied = other_digest();
        w.see(WEB).digest = other_digest();
    });
    says("update! (the release changes it)", change);
}

#[test]
fn drift_is_only_said_where_the_policy_says_so() {
    let report = |change: fn(&mut World)| {
        move |w: &mut World| {
            w.assignment.policy.drift.mode = DriftMode::Report;
            change(w);
        }
    };
    says("report (someone else changed it)", report(|w| w.see(WEB).fields = None));
    says("report (someone else removed it or its label)", report(|w| w.observed.objects.clear()));
    says("report (is being deleted)", report(|w| w.see(WEB).terminating = true));
    says("compare (the record of its fields was lost)", report(|w| w.remembers(WEB).fields = None));
    // A change of the release is none of the policy's business.
    says(
        "update! (the release changes it)",
        report(|w| {
            w.remembers(WEB).applied = other_digest();
            w.see(WEB).digest = None;
        }),
    );
    says(
        "compare! (an apply was under way when the record was lost)",
        report(|w| {
            w.remembers(WEB).applied = other_digest();
        }),
    );
}

#[test]
fn the_first_apply_does_not_force() {
    let fresh = |w: &mut World| w.inventory.objects.clear();
    let unlabelled = |w: &mut World| {
        w.inventory.objects.clear();
        w.see(WEB).part_of = None;
        w.see(WEB).managers = ["helm".into(), "kubectl".into()].into();
    };
    let gone = says("create (new in the release)", |w| {
        fresh(w);
        w.observed.objects.clear();
    });
    assert_eq!(gone, None, "the answer's creationTimestamp decides");
    let adopted = says("adopt (was there before; other owners: helm, kubectl)", unlabelled);
    assert_eq!(adopted, Some(Origin::Adopted));
    let taken = says("adopt! (was there before; other owners: helm, kubectl)", |w| {
        unlabelled(w);
        w.adopt.insert(key(WEB));
    });
    assert_eq!(taken, Some(Origin::Taken));
    says("held (is managed by another set (applyset-x-v1))", |w| {
        fresh(w);
        w.see(WEB).part_of = Some("applyset-x-v1".into());
    });
}

#[test]
fn an_adopted_object_is_not_forced_until_a_person_says_so() {
    let change = |w: &mut World| {
        w.remembers(WEB).origin = Origin::Adopted;
        w.remembers(WEB).applied = other_digest();
        w.see(WEB).digest = other_digest();
    };
    assert_eq!(says("update (the release changes it)", change), Some(Origin::Adopted));
    let forced = says("update! (the release changes it)", |w| {
        change(w);
        w.adopt.insert(key(WEB));
    });
    assert_eq!(forced, Some(Origin::Taken));
    let healed = says("heal! (someone else changed it)", |w| {
        w.remembers(WEB).origin = Origin::Adopted;
        w.see(WEB).fields = None;
    });
    assert_eq!(healed, Some(Origin::Adopted), "healing forces, and changes nothing about whose it is");
}

#[test]
fn what_was_there_before_is_told_by_the_servers_clock() {
    let unrecorded = "compare! (an apply was under way when the record was lost)";
    let ours = says(unrecorded, |w| intended(w, NOW));
    assert_eq!(ours, Some(Origin::Created { generation: 5 }));
    let theirs = says(unrecorded, |w| intended(w, NOW + 1));
    assert_eq!(theirs, Some(Origin::Adopted));
    says("create (new in the release)", |w| {
        intended(w, NOW);
        w.observed.objects.clear();
    });
    says("adopt (was there before; other owners: none)", |w| {
        intended(w, NOW);
        w.see(WEB).part_of = None;
    });
    assert!(!was_there_before(None, at(NOW)));
}

#[test]
fn objects_change_hands_between_siblings() {
    let theirs = |wants: &'static [&'static str], adopted: &'static [&'static str]| {
        move |w: &mut World| {
            w.see(WEB).part_of = Some(SIBLING.into());
            w.sibling(wants, adopted);
        }
    };
    let moves = "take over! (moves here from fleet other)";
    let new = |change: &dyn Fn(&mut World), w: &mut World| {
        w.inventory.objects.clear();
        change(w);
    };
    // Whether the sibling still wants it or not: it was never ours, and our release has it.
    assert_eq!(says(moves, |w| new(&theirs(&[], &[]), w)), Some(Origin::Taken));
    assert_eq!(says(moves, |w| new(&theirs(&[WEB], &[]), w)), Some(Origin::Taken));
    let shared = says("take over (moves here from fleet other)", |w| new(&theirs(&[], &[WEB]), w));
    assert_eq!(shared, Some(Origin::Adopted));
    // It was ours: a sibling that wants it has it now; one that doesn't gives it back.
    says("unchanged (now belongs to fleet other)", theirs(&[WEB], &[]));
    says(moves, theirs(&[], &[]));
}

#[test]
fn ignored_paths_are_left_to_others_without_a_fight() {
    let replicas = || vec!["/spec/replicas".to_owned()];
    says("compare! (another manager owns ignored paths: /spec/replicas)", |w| {
        w.ignore("/spec/replicas");
        w.see(WEB).yielded = replicas();
        w.see(WEB).fields = Some(fields(2));
    });
    says("unchanged (as it should be)", |w| {
        w.ignore("/spec/replicas");
        w.see(WEB).yielded = replicas();
        w.remembers(WEB).left_out = replicas();
    });
    says("heal! (someone else changed it)", |w| {
        w.ignore("/spec/replicas");
        w.see(WEB).yielded = replicas();
        w.remembers(WEB).left_out = replicas();
        w.see(WEB).fields = Some(fields(2));
    });
    says("heal! (no other manager owns ignored paths any more: /spec/replicas)", |w| {
        w.ignore("/spec/replicas");
        w.remembers(WEB).left_out = replicas();
    });
}

#[test]
fn a_job_that_completed_and_is_gone_is_done() {
    let gone = |w: &mut World| {
        w.observed.objects.clear();
        w.remembers(WEB).finished = true;
    };
    says("unchanged (it completed and its time to live removed it)", gone);
    says("unchanged (it completed and its time to live removed it)", |w| {
        w.see(WEB).terminating = true;
        w.see(WEB).finished = true;
    });
    says("create! (someone else removed it or its label)", |w| {
        gone(w);
        w.remembers(WEB).applied = other_digest();
    });
    says("heal! (someone else changed it)", |w| {
        w.remembers(WEB).finished = true;
        w.see(WEB).digest = None;
    });
}

#[test]
fn what_is_being_deleted_is_awaited() {
    says("recreate! (is being deleted)", |w| w.see(WEB).terminating = true);
    says("recreate (is being deleted)", |w| {
        w.inventory.objects.clear();
        w.see(WEB).part_of = None;
        w.see(WEB).terminating = true;
    });
}

#[test]
fn what_could_not_be_read_is_not_taken_as_gone() {
    let unread = |w: &mut World| {
        w.observed.objects.clear();
        w.observed.unread.insert(key(WEB).group_kind());
    };
    says("compare! (objects of its kind could not be read)", unread);
    says("create (objects of its kind could not be read)", |w| {
        unread(w);
        w.inventory.objects.clear();
    });
    says("update! (the release changes it)", |w| {
        unread(w);
        w.remembers(WEB).applied = other_digest();
    });
}

#[test]
fn the_verbs_that_apply_are_those_that_send_one() {
    assert!(
        Verb::Heal.applies() && Verb::Adopt.applies() && !Verb::Compare.applies() && !Verb::Held.applies()
    );
}
