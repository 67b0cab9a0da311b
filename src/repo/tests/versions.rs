//! Version tags.

use std::collections::BTreeMap;

use super::super::{HeadChange, Tag, TagMoved, moved_tags, newest_tag, tag_on};
use fairlead_core::model::digest::CommitId;

fn commit(n: u8) -> CommitId {
    CommitId::from_bytes([n; 20])
}

fn newest(range: &str, tags: &[&str]) -> Option<String> {
    let tags: Vec<_> =
        (0..).zip(tags).map(|(n, name)| Tag { name: (*name).into(), commit: commit(n) }).collect();
    let found = newest_tag(&"retail".parse().unwrap(), &range.parse().unwrap(), &tags);
    found.map(|(version, tag)| format!("{version} {}", tag.name))
}

#[test]
fn the_newest_version_in_the_range_wins() {
    let tags = [
        "v1.2.0",
        "retail/v1.10.0",
        "v1.9.0",
        "other/v1.99.0",
        "v2.0.0",
        "junk",
        "1.5.0",
        "vx",
        "a/retail/v1.50.0",
    ];
    assert_eq!(newest(">=1.4, <2", &tags), Some("1.10.0 retail/v1.10.0".into()));
    assert_eq!(newest("*", &tags), Some("2.0.0 v2.0.0".into()));
    assert_eq!(newest("^3", &tags), None);
}

#[test]
fn the_profiles_own_tag_wins_on_equal_versions() {
    for tags in [["v1.0.0", "retail/v1.0.0"], ["retail/v1.0.0", "v1.0.0"]] {
        assert_eq!(newest("^1", &tags), Some("1.0.0 retail/v1.0.0".into()));
    }
    // Build metadata has no order: the name decides, in whatever order the tags come.
    for tags in [["v1.0.0+a", "v1.0.0+b"], ["v1.0.0+b", "v1.0.0+a"]] {
        assert_eq!(newest("^1", &tags), Some("1.0.0+b v1.0.0+b".into()));
    }
}

#[test]
fn pre_releases_match_only_when_named() {
    let tags = ["v1.3.0", "v1.4.0-rc.1", "v1.4.0-rc.10", "v1.4.0-rc.9"];
    assert_eq!(newest(">=1.0", &tags), Some("1.3.0 v1.3.0".into()));
    assert_eq!(newest(">=1.4.0-rc.1", &tags), Some("1.4.0-rc.10 v1.4.0-rc.10".into()));
}

#[test]
fn a_tag_that_moved_is_told_and_a_deleted_one_is_not() {
    let map = |tags: &[(&str, u8)]| -> BTreeMap<String, CommitId> {
        tags.iter().map(|(name, n)| ((*name).to_owned(), commit(*n))).collect()
    };
    let (old, new) = (map(&[("v1", 1), ("v2", 2), ("v3", 3)]), map(&[("v1", 1), ("v2", 9), ("v4", 4)]));
    assert_eq!(moved_tags(&old, &new), [TagMoved { name: "v2".into(), old: commit(2), new: commit(9) }]);
}

#[test]
fn a_commit_is_named_by_its_newest_version_tag() {
    let tags = [("v1.0.0", 1), ("retail/v1.1.0", 1), ("other/v9.0.0", 1), ("nightly", 1), ("v2.0.0", 2)];
    let mut tags: BTreeMap<_, _> = tags.into_iter().map(|(name, n)| (name.to_owned(), commit(n))).collect();
    let on =
        |tags: &BTreeMap<_, _>, n| tag_on(&"retail".parse().unwrap(), commit(n), tags).map(str::to_owned);
    assert_eq!(on(&tags, 1), Some("retail/v1.1.0".into()));
    assert_eq!(on(&tags, 2), Some("v2.0.0".into()));
    assert_eq!(on(&tags, 3), None);
    tags.insert("v1.1.0".into(), commit(1));
    assert_eq!(on(&tags, 1), Some("retail/v1.1.0".into()), "on equal versions the profile's own");
}

#[test]
fn heads_are_classified() {
    let (a, b) = (commit(1), commit(2));
    assert_eq!(HeadChange::classify(None, a, false), HeadChange::First);
    assert_eq!(HeadChange::classify(Some(a), a, true), HeadChange::Same);
    assert_eq!(HeadChange::classify(Some(a), b, true), HeadChange::FastForward);
    assert_eq!(HeadChange::classify(Some(a), b, false), HeadChange::NonFastForward);
}
