//! What leaves.

use super::*;
use crate::model::assignment::Hold;
use crate::model::fleet::OnRemoval;
use crate::model::units::Amount;
use crate::plan::{Verb, crds_leaving, leave};

const CRD: &str = "CustomResourceDefinition.apiextensions.k8s.io databases.example.com";

/// Converged at `before`, changed by `change`, then planned to `after`; objects are in one layer.
fn dropped(before: &[&str], after: &[&str], change: impl FnOnce(&mut World)) -> crate::plan::LivePlan {
    let of = |names: &[&str]| release(vec![layer("shop", &[], names.iter().map(|n| plain(n)).collect())]);
    let mut world = World::at(&of(before));
    world.assignment.policy.prune.max_deletions = Amount::Count(100);
    change(&mut world);
    world.plan(&of(after))
}

fn leaves(object: &str, expected: &str, change: impl FnOnce(&mut World)) {
    let plan = dropped(&[object, "ConfigMap stay/a"], &["ConfigMap stay/a"], change);
    let all = lines(&plan);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[1], expected);
    assert_eq!(plan.hold, None);
}

#[test]
fn only_what_is_seen_under_our_label_is_deleted() {
    let a = "ConfigMap shop/a";
    leaves(a, "prune 0: delete ConfigMap shop/a (the release dropped it)", |_| {});
    leaves(a, "prune 0: forget ConfigMap shop/a (is gone, or no longer carries our label)", |w| {
        w.observed.objects.remove(&key(a));
    });
    leaves(a, "prune 0: forget ConfigMap shop/a (is gone, or no longer carries our label)", |w| {
        w.see(a).part_of = None;
    });
    leaves(a, "prune 0: forget ConfigMap shop/a (is managed by another set (x))", |w| {
        w.see(a).part_of = Some("x".into());
    });
    leaves(a, "prune 0: forget ConfigMap shop/a (now belongs to fleet other)", |w| {
        w.see(a).part_of = Some(SIBLING.into());
        w.sibling(&[a], &[]);
    });
    leaves(a, "kept: ConfigMap shop/a (fleet other takes it over)", |w| w.sibling(&[a], &[]));
    leaves(a, "prune 0: delete ConfigMap shop/a (the release dropped it)", |w| {
        w.sibling(&[a], &[]);
        w.siblings.get_mut(SIBLING).unwrap().left = true;
    });
    leaves(a, "kept: ConfigMap shop/a (objects of its kind could not be read)", |w| {
        w.observed.objects.remove(&key(a));
        w.observed.unread.insert(key(a).group_kind());
    });
    let own = "ConfigMap fairlead-system/fairlead-default.g";
    leaves(own, &format!("prune 0: forget {own} (is gone, or no longer carries our label)"), |_| {});
    leaves(a, "prune 0: await gone ConfigMap shop/a (is being deleted)", |w| w.see(a).terminating = true);
}

#[test]
fn an_object_that_took_our_label_and_our_name_is_not_ours() {
    let a = "ConfigMap shop/a";
    let other = "prune 0: forget ConfigMap shop/a (is another object, with a copy of our label)";
    leaves(a, other, |w| (w.see(a).uid, w.see(a).fields) = ("other".into(), None));
    // Healed, and not recorded yet; or stripped of its record of managers.
    let ours = "prune 0: delete ConfigMap shop/a (the release dropped it)";
    leaves(a, ours, |w| w.see(a).uid = "other".into());
    leaves(a, ours, |w| w.see(a).fields = None);
}

#[test]
fn what_can_keep_others_from_being_written_goes_first() {
    const ADMISSION: &str = "admissionregistration.k8s.io";
    let blockers = [
        &format!("ValidatingWebhookConfiguration.{ADMISSION} v"),
        &format!("MutatingWebhookConfiguration.{ADMISSION} m"),
        &format!("ValidatingAdmissionPolicy.{ADMISSION} p"),
        &format!("ValidatingAdmissionPolicyBinding.{ADMISSION} b"),
        &format!("MutatingAdmissionPolicyBinding.{ADMISSION} b"),
        "APIService.apiregistration.k8s.io v1.metrics.example.com",
        "ResourceQuota shop/q",
        "LimitRange shop/l",
        "FlowSchema.flowcontrol.apiserver.k8s.io f",
        "ClusterPolicy.kyverno.io c",
        "K8sRequiredLabels.constraints.gatekeeper.sh c",
    ];
    for blocker in blockers {
        leaves2(blocker, &format!("first: delete {} (the release dropped it)", key(blocker)));
    }
    for other in
        ["PolicyException.kyverno.io shop/e", "NetworkPolicy.networking.k8s.io shop/n", "Secret shop/s"]
    {
        leaves2(other, &format!("prune 0: delete {} (the release dropped it)", key(other)));
    }
    // What is not deleted is none of that.
    let quota = "ResourceQuota shop/q";
    leaves(quota, "prune 0: release ResourceQuota shop/q (was there before Fairlead)", |w| {
        w.remembers(quota).origin = Origin::Adopted;
    });
    leaves(quota, "prune 0: await gone ResourceQuota shop/q (is being deleted)", |w| {
        w.see(quota).terminating = true;
    });
}

fn leaves2(object: &str, expected: &str) {
    let plan = dropped(&[object, "ConfigMap stay/a"], &["ConfigMap stay/a"], |_| {});
    assert!(lines(&plan).iter().any(|line| line == expected), "{:?}", lines(&plan));
}

#[test]
fn an_api_service_stays_until_what_is_seen_through_it_is_gone() {
    let service = "APIService.apiregistration.k8s.io v1.example.com";
    let db = "Database.example.com shop/db";
    let order = |change: fn(&mut World)| {
        lines(&dropped(&[service, db, "ConfigMap stay/a"], &["ConfigMap stay/a"], change))
    };
    let dropped = "(the release dropped it)";
    let plan = order(|_| {});
    assert_eq!(
        plan[1..],
        [
            format!("prune 0: delete Database shop/db {dropped}"),
            format!("prune 1: delete APIService v1.example.com {dropped}")
        ]
    );
    // It does not answer: nothing is known of what it served.
    let plan = order(|w| {
        w.observed.objects.remove(&key("Database.example.com shop/db"));
        w.observed.unread.insert(key("Database.example.com shop/db").group_kind());
    });
    assert_eq!(plan[0], format!("first: delete APIService v1.example.com {dropped}"));
    assert_eq!(plan[2], "kept: Database shop/db (objects of its kind could not be read)");
}

#[test]
fn what_was_there_before_is_released() {
    let a = "ConfigMap shop/a";
    let release = "prune 0: release ConfigMap shop/a (was there before Fairlead)";
    leaves(a, release, |w| w.remembers(a).origin = Origin::Adopted);
    leaves(a, release, |w| w.remembers(a).origin = Origin::Intended { at: at(NOW + 1), generation: 5 });
    leaves(a, "prune 0: delete ConfigMap shop/a (the release dropped it)", |w| {
        w.remembers(a).origin = Origin::Intended { at: at(NOW), generation: 5 };
    });
    leaves(a, "prune 0: delete ConfigMap shop/a (the release dropped it)", |w| {
        w.remembers(a).origin = Origin::Taken;
    });
    leaves(a, release, |w| {
        w.remembers(a).origin = Origin::Taken;
        w.assignment.purpose = Purpose::Return;
    });
}

#[test]
fn protected_kinds_stay_unless_allowed() {
    let pvc = "PersistentVolumeClaim shop/data";
    let kept = "kept: PersistentVolumeClaim shop/data (PersistentVolumeClaim is a protected kind: needs an approval \
                or the annotation fairlead.dev/prune: allow)";
    let deleted = "prune 0: delete PersistentVolumeClaim shop/data (the release dropped it)";
    leaves(pvc, kept, |_| {});
    leaves(pvc, deleted, |w| w.see(pvc).prune_allowed = true);
    leaves(pvc, deleted, |w| w.assignment.deletions_approved = true);
    leaves(pvc, deleted, |w| w.assignment.policy.prune.protect = vec!["Secret".into()]);
    leaves(
        pvc,
        "kept: PersistentVolumeClaim shop/data (going back leaves protected kinds (PersistentVolumeClaim))",
        |w| {
            w.assignment.purpose = Purpose::Revert;
            w.remembers(pvc).origin = Origin::Created { generation: 4 };
            w.back_to = Some(3);
        },
    );
    let web = "Deployment.apps shop/web";
    leaves(
        web,
        "kept: Deployment shop/web (Deployment is a protected kind: needs an approval or the annotation \
                 fairlead.dev/prune: allow)",
        |w| {
            w.assignment.policy.prune.protect = vec!["Deployment.apps".into()];
        },
    );
}

#[test]
fn what_is_still_needed_stays() {
    let allow = |w: &mut World| w.assignment.deletions_approved = true;
    let db = "Database.example.com shop/db";
    leaves("Namespace stay", "kept: Namespace stay (ConfigMap stay/a still needs it)", allow);
    leaves(
        CRD,
        "kept: CustomResourceDefinition databases.example.com (it is not known whether it still has objects \
                 that are not ours)",
        allow,
    );
    leaves(
        CRD,
        "kept: CustomResourceDefinition databases.example.com (it still has 2 objects that are not ours)",
        |w| {
            allow(w);
            w.observed.foreign_instances.insert(key(CRD), 2);
        },
    );
    leaves(
        CRD,
        "prune 0: delete CustomResourceDefinition databases.example.com (the release dropped it)",
        |w| {
            allow(w);
            w.observed.foreign_instances.insert(key(CRD), 0);
        },
    );
    let plan = dropped(&[CRD, db], &[db], allow);
    assert_eq!(
        lines(&plan)[1],
        "kept: CustomResourceDefinition databases.example.com (Database shop/db still needs it)"
    );
}

#[test]
fn crds_that_leave_are_named_for_counting() {
    let before = release(vec![layer("a", &[], vec![plain(CRD), plain("ConfigMap shop/a")])]);
    let world = World::at(&before);
    assert_eq!(crds_leaving(&release(vec![]), &world.ctx()), [key(CRD)]);
    assert!(crds_leaving(&before, &world.ctx()).is_empty());
}

#[test]
fn the_order_is_the_reverse_of_applying_with_custom_resources_first() {
    let before = release(vec![
        layer(
            "cni",
            &[],
            vec![plain("Namespace net"), plain("ConfigMap net/a"), plain("Database.example.com net/db")],
        ),
        layer(
            "app",
            &[],
            vec![plain(CRD), plain("Deployment.apps shop/web"), plain("Database.example.com shop/db")],
        ),
        layer("keep", &[], vec![plain("ConfigMap stay/a")]),
    ]);
    let mut world = World::at(&before);
    world.assignment.deletions_approved = true;
    world.observed.foreign_instances.insert(key(CRD), 0);
    let after = release(vec![layer("keep", &[], vec![plain("ConfigMap stay/a")])]);
    let plan = world.plan(&after);
    let stages: Vec<String> = plan
        .prune
        .iter()
        .map(|stage| stage.iter().map(|a| a.key.to_string()).collect::<Vec<_>>().join(", "))
        .collect();
    assert_eq!(
        stages,
        [
            "Database shop/db",
            "Database net/db",
            "Deployment shop/web",
            "ConfigMap net/a",
            "CustomResourceDefinition databases.example.com",
            "Namespace net"
        ]
    );
}

fn many(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("ConfigMap shop/c{n}")).collect()
}

fn budget(keep: usize, change: impl FnOnce(&mut World)) -> crate::plan::LivePlan {
    let all = many(0..20);
    let before: Vec<&str> = all.iter().map(String::as_str).collect();
    dropped(&before, &before[..keep], |w| {
        w.assignment.policy.prune.max_deletions = Amount::Percent(50);
        change(w);
    })
}

#[test]
fn more_deletions_than_the_budget_hold() {
    let plan = budget(10, |_| {});
    assert_eq!((plan.hold, plan.deletions_left), (None, 0));
    let plan = budget(12, |_| {});
    assert_eq!((plan.hold, plan.deletions_left), (None, 2));
    let plan = budget(9, |_| {});
    let Some(Hold::DeletionBudget { count: 11, of: 20, budget: 10, objects }) = plan.hold else {
        panic!("{:?}", plan.hold)
    };
    assert_eq!(objects.len(), 11);
    assert_eq!(plan.deletions_left, 0);
    assert_eq!(budget(9, |w| w.assignment.deletions_approved = true).hold, None);
    // What was created since is outside the budget when going back, and only then.
    let since = |purpose| {
        move |w: &mut World| {
            w.assignment.purpose = purpose;
            w.back_to = Some(3);
            for n in 9..12 {
                w.remembers(&format!("ConfigMap shop/c{n}")).origin = Origin::Created { generation: 4 };
            }
        }
    };
    let plan = budget(9, since(Purpose::Return));
    assert_eq!((plan.hold, plan.deletions_left), (None, 2));
    assert!(budget(9, since(Purpose::Change)).hold.is_some());
}

#[test]
fn an_empty_release_or_profile_holds() {
    let plan = budget(0, |_| {});
    assert_eq!(plan.hold, Some(Hold::EmptyRelease { of: 20 }));
    // An approval is for the budget; only the policy lets everything go.
    assert!(budget(0, |w| w.assignment.deletions_approved = true).hold.is_some());
    let plan = budget(0, |w| {
        w.assignment.deletions_approved = true;
        w.assignment.policy.prune.allow_empty = true;
    });
    assert_eq!(plan.hold, None);
    // Back to before there was anything: everything was created since.
    let plan = budget(0, |w| {
        w.assignment.purpose = Purpose::Return;
        w.back_to = Some(0);
    });
    assert_eq!((plan.hold, plan.prune.iter().flatten().count()), (None, 20));
    let before = release(vec![
        layer("one/a", &[], vec![plain("ConfigMap shop/a")]),
        layer("two/a", &[], vec![plain("ConfigMap shop/b"), plain("ConfigMap shop/c")]),
    ]);
    let world = World::at(&before);
    let empty =
        release(vec![layer("one/a", &[], vec![]), layer("two/a", &[], vec![plain("ConfigMap shop/b")])]);
    assert_eq!(world.plan(&empty).hold, Some(Hold::EmptyRelease { of: 1 }));
    // A profile that the fleet no longer has is not empty; and moving everything out of one deletes nothing.
    let without =
        release(vec![layer("two/a", &[], vec![plain("ConfigMap shop/b"), plain("ConfigMap shop/c")])]);
    assert_eq!(world.plan(&without).hold, None);
    let all = ["a", "b", "c"].map(|n| plain(&format!("ConfigMap shop/{n}")));
    let moved = release(vec![layer("one/a", &[], vec![]), layer("two/a", &[], all.to_vec())]);
    assert_eq!(world.plan(&moved).hold, None);
    assert!(release(vec![]).objects().next().is_none());
    assert_eq!(world.plan(&release(vec![])).hold, Some(Hold::EmptyRelease { of: 3 }));
}

#[test]
fn another_hash_suffix_is_no_deletion() {
    let none = |w: &mut World| w.assignment.policy.prune.max_deletions = Amount::Count(0);
    let plan = dropped(&["ConfigMap shop/app-7f9c8d6b5k"], &["ConfigMap shop/app-8h2kk7m2f4"], none);
    assert_eq!(lines(&plan)[1], "prune 0: delete ConfigMap shop/app-7f9c8d6b5k (replaced by app-8h2kk7m2f4)");
    assert_eq!(plan.hold, None);
    for (old, new) in [
        ("ConfigMap shop/app-7f9c8d6b5k", "ConfigMap other/app-8h2kk7m2f4"),
        ("ConfigMap shop/app-7f9c8d6b5k", "Secret shop/app-8h2kk7m2f4"),
        ("ConfigMap shop/app-7f9c8d6b5k", "ConfigMap shop/web-8h2kk7m2f4"),
        ("ConfigMap shop/app-production", "ConfigMap shop/app-8h2kk7m2f4"),
        ("Deployment.apps shop/app-7f9c8d6b5k", "Deployment.apps shop/app-8h2kk7m2f4"),
    ] {
        assert!(dropped(&[old], &[new], none).hold.is_some(), "{old} {new}");
    }
}

#[test]
fn leaving_a_fleet_releases_or_deletes_everything() {
    let before = release(vec![layer("a", &[], vec![plain("Namespace shop"), plain("ConfigMap shop/a")])]);
    let mut world = World::at(&before);
    let plan = leave(OnRemoval::Orphan, &world.observed, &world.ctx());
    assert!(plan.prune.iter().flatten().all(|a| a.verb == Verb::Release));
    assert_eq!((plan.prune.iter().flatten().count(), plan.hold), (2, None));
    let plan = leave(OnRemoval::Delete, &world.observed, &world.ctx());
    assert_eq!(lines(&plan).len(), 2);
    assert_eq!(lines(&plan)[0], "prune 0: delete ConfigMap shop/a (the target leaves the fleet)");
    assert!(lines(&plan)[1].starts_with("kept: Namespace shop"));
    world.assignment.policy.prune.max_deletions = Amount::Count(0);
    assert!(leave(OnRemoval::Delete, &world.observed, &world.ctx()).hold.is_some());
    assert_eq!(leave(OnRemoval::Orphan, &world.observed, &world.ctx()).hold, None);
}
