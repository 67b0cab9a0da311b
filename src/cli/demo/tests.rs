//! What the API says, to what is shown: golden pictures. `FAIRLEAD_BLESS=1` writes them anew.

use std::path::Path;
use std::time::Duration;

use super::content;
use super::decisions::between;
use super::screen::{self, Entry, Guide, Scene, draw};
use super::terminal::painted;
use super::tour::STEPS;
use crate::cli::table::Tone;
use crate::server::{FleetStatus, FleetView, ReleaseView, RepositoryView, StatusView, TargetView};
use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::rollout::{Reason, TargetStatus, WaveReport, WaveStanding};

fn commit(number: u8) -> CommitId {
    CommitId::from_bytes([number; 20])
}

fn release(number: u8) -> ReleaseView {
    ReleaseView { release: ReleaseDigest::of([&[number][..]]), commit: commit(number) }
}

/// A fleet of so many clusters, in which `status` says how each of the shops stands.
fn view(count: usize, status: impl Fn(usize) -> TargetStatus) -> StatusView {
    let repository =
        RepositoryView { branch: "main".into(), observed: Some(commit(2)), ..RepositoryView::default() };
    let mut view = StatusView::empty(Default::default(), repository);
    for (number, cluster) in content::clusters(count).into_iter().enumerate() {
        let (fleet, status) =
            if cluster.hub { ("hubs", TargetStatus::Converged) } else { ("retail", status(number)) };
        let converged = release(if status == TargetStatus::Converged { 2 } else { 1 });
        view.targets.push(TargetView {
            name: cluster.name.parse().unwrap(),
            fleet: fleet.parse().unwrap(),
            wave: None,
            status,
            reason: (status != TargetStatus::Converged).then(|| format!("because of {}", status.as_str())),
            why: Reason::Converged,
            wanted: Some(release(2)),
            assigned: Some(release(2)),
            converged: Some(converged),
            base: Some(release(1)),
            since: None,
            offline: status == TargetStatus::Offline,
            objects: 14,
            drift: Vec::new(),
            kept: Vec::new(),
            break_glass: Vec::new(),
            waiting: Vec::new(),
        });
    }
    view.targets.sort_by(|a, b| a.name.cmp(&b.name));
    view.fleets =
        vec![fleet(&view, "hubs", FleetStatus::Converged), fleet(&view, "retail", FleetStatus::RollingOut)];
    view
}

fn fleet(view: &StatusView, name: &str, state: FleetStatus) -> FleetView {
    let mut counts = std::collections::BTreeMap::new();
    for target in view.targets.iter().filter(|target| target.fleet.as_str() == name) {
        *counts.entry(target.status).or_insert(0) += 1;
    }
    FleetView {
        name: name.parse().unwrap(),
        observed: Some(commit(2)),
        accepted: Some(commit(if state == FleetStatus::Converged { 2 } else { 1 })),
        state,
        reason: Some(format!("{name} has its reasons")),
        needs: Vec::new(),
        waves: if state == FleetStatus::RollingOut { waves() } else { Vec::new() },
        next_window: None,
        counts,
        failures: Vec::new(),
    }
}

fn waves() -> Vec<WaveReport> {
    let wave = |name: &str, converged, at_work, standing| WaveReport {
        name: name.parse().unwrap(),
        affected: 9,
        converged,
        baked: 0,
        at_work,
        limit: 4,
        failed: 0,
        away: 0,
        standing,
    };
    let rolling = WaveStanding::Rolling { converged: 3, affected: 9 };
    vec![wave("canary", 9, 0, WaveStanding::Passed), wave("rest", 3, 4, rolling)]
}

fn scene(view: StatusView) -> Scene {
    let (title, text) = STEPS[1];
    let log = (0..40).map(|number| Entry {
        at: Duration::from_millis(number * 730),
        who: if number % 3 == 0 { "git".into() } else { "retail".into() },
        text: format!("entry {number}, long enough that a narrow terminal must cut it off somewhere"),
        tone: Tone::Plain,
    });
    Scene {
        view,
        elapsed: Duration::from_secs(83),
        requests: 1234,
        log: log.collect(),
        guide: Guide { title: title.into(), text: text.into(), keys: "n goes on   q ends the demo".into() },
    }
}

/// A mix in which every status occurs.
fn mixed(number: usize) -> TargetStatus {
    use TargetStatus::{
        Converged, Failed, Held, Offline, Progressing, Returning, Stalled, Unhealthy, Waiting,
    };
    let all = [Converged, Progressing, Waiting, Failed, Returning, Offline, Held, Stalled, Unhealthy];
    if number.is_multiple_of(5) { all[number / 5 % all.len()] } else { Converged }
}

fn assert_golden(name: &str, text: &str) {
    let path = Path::new("src/cli/demo/golden").join(name);
    if std::env::var_os("FAIRLEAD_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{} differs; FAIRLEAD_BLESS=1 writes it anew", path.display());
}

fn plain(lines: &[screen::Line]) -> String {
    lines.iter().map(|line| painted(line, false).trim_end().to_owned() + "\n").collect()
}

#[test]
fn pictures_are_as_they_were_seen_and_approved() {
    for (name, count, width, height) in [
        ("24-clusters.txt", 24, 100, 32),
        ("24-clusters-small.txt", 24, 60, 20),
        ("1000-clusters.txt", 1000, 100, 32),
        ("5000-clusters.txt", 5000, 80, 24),
    ] {
        let lines = draw(&scene(view(count, mixed)), width, height);
        assert_golden(name, &plain(&lines));
    }
}

#[test]
fn every_size_of_terminal_gets_a_picture_that_fits() {
    for count in [1, 24, 1000] {
        let scene = scene(view(count, mixed));
        for (width, height) in [(1, 1), (10, 3), (20, 100), (80, 24), (300, 90)] {
            let lines = draw(&scene, width, height);
            assert_eq!(lines.len(), height);
            let widest = lines.iter().map(|line| painted(line, false).chars().count()).max();
            assert!(widest <= Some(width), "{count} clusters on {width}x{height}: {widest:?}");
        }
    }
}

#[test]
fn decisions_are_told_by_fleet_with_reasons() {
    use TargetStatus::{Converged, Offline, Progressing, Returning, Waiting};
    let told = |before: &StatusView, after: &StatusView| -> Vec<String> {
        let lines = between(before, after).into_iter();
        lines.map(|d| format!("{}: {}", d.fleet.map_or("git".into(), |f| f.to_string()), d.text)).collect()
    };
    let nothing = StatusView::empty(Default::default(), RepositoryView::default());
    let pending = view(9, |_| Waiting);
    let expected = [
        "git: observed 0202020 on main",
        "hubs: converged, accepted 0202020: hubs has its reasons",
        "retail: rolling out 0202020: retail has its reasons",
    ];
    assert_eq!(told(&nothing, &pending), expected);
    let started = view(9, |number| if number < 5 { Progressing } else { Waiting });
    assert_eq!(
        told(&pending, &started),
        ["retail: eu-shop-001, eu-shop-002, eu-shop-003 and 2 more progressing"]
    );
    let mut back = view(9, |number| if number < 5 { Returning } else { Waiting });
    let retail = back.fleets.iter_mut().find(|fleet| fleet.name.as_str() == "retail").unwrap();
    retail.state = FleetStatus::Returning;
    retail.reason = Some("1 of 9 failed:\u{1b}[2J crash".into());
    let lines = told(&started, &back);
    assert_eq!(lines[0], "retail: returning 0202020: 1 of 9 failed: [2J crash");
    assert!(lines[1].ends_with("and 2 more returning (because of returning)"), "{lines:?}");
    let away = view(9, |number| if number == 3 { Offline } else { Converged });
    let there = view(9, |_| Converged);
    assert_eq!(told(&away, &there), ["retail: us-shop-001 back, at 0202020"]);
    assert_eq!(told(&there, &there), [""; 0]);
    // Done between two pictures.
    let mut before = there.clone();
    before.targets[0].converged = Some(release(1));
    assert_eq!(told(&before, &there), ["retail: ap-shop-001 converged at 0202020"]);
}

#[test]
fn texts_are_broken_at_spaces_and_keep_their_indent() {
    let lines = screen::wrap("one two three\n  four five\n\nsix", 9);
    assert_eq!(lines, ["one two", "three", "  four", "five", "", "six"]);
}
