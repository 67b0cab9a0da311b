//! The store over real files, with crashes, damage and other processes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead::store::{
    AuditEntry, FleetRecord, Head, HistoryEvent, KnownLedger, MAX_HISTORY_EVENTS, Records, RolloutRecord,
    Store, StoreError, Tag, Write,
};
use fairlead_core::model::digest::{CommitId, ReleaseDigest};
use fairlead_core::model::revision::{ProfileRevision, Revision};
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 123_456_000).unwrap()
}

fn open(folder: &Path) -> Store {
    Store::open(folder, at(0)).unwrap()
}

fn commit(n: u8) -> CommitId {
    CommitId::from_bytes([n; 20])
}

fn release(n: u8) -> ReleaseDigest {
    ReleaseDigest::from_bytes([n; 32])
}

fn fleet(name: &str, state: &str) -> Write {
    Write::Fleet(FleetRecord { fleet: name.parse().unwrap(), format: 1, state: state.into() })
}

fn report(key: &str, payload: &str, second: i64) -> Write {
    Write::Report { kind: "status".into(), key: key.into(), payload: payload.into(), next_at: at(second) }
}

fn event(target: &str, fleet: &str, n: i64) -> HistoryEvent {
    HistoryEvent {
        at: at(n),
        target: target.parse().unwrap(),
        fleet: fleet.parse().unwrap(),
        release: release(1),
        control: commit(1),
        profiles: vec![
            ProfileRevision {
                profile: "base".parse().unwrap(),
                commit: commit(2),
                tag: Some("base/v1.0.0".into()),
            },
            ProfileRevision { profile: "web".parse().unwrap(), commit: commit(1), tag: None },
        ],
        outcome: format!("outcome {n}"),
    }
}

fn rollout(fleet: &str, n: u8, state: &str, second: i64) -> Write {
    Write::Rollout(RolloutRecord {
        fleet: fleet.parse().unwrap(),
        revision: Revision::control(commit(n)),
        state: state.into(),
        description: format!("all {state}"),
        began: at(second),
        changed: at(second),
    })
}

#[test]
fn every_record_comes_back_as_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let head = Head {
        source: "control".parse().unwrap(),
        branch: "main".into(),
        observed: Some(commit(2)),
        accepted: Some(commit(1)),
        hold: Some("history was rewritten".into()),
    };
    let tag = Tag { source: "control".parse().unwrap(), name: "v1.0.0".into(), commit: commit(3) };
    let ledger = KnownLedger {
        target: "edge-001".parse().unwrap(),
        fleet: "retail".parse().unwrap(),
        generation: 7,
        identity: "4b2f".into(),
    };
    let audit = AuditEntry {
        at: at(9),
        who: "alice".into(),
        via: "socket".into(),
        what: "accept".into(),
        subject: "fleet/retail".into(),
        why: "it is right".into(),
        outcome: "done".into(),
    };
    let writes = vec![
        fleet("retail", r#"{"a":1}"#),
        Write::Head(head.clone()),
        Write::Tag(tag.clone()),
        Write::Ledger(ledger.clone()),
        Write::Audit(audit.clone()),
        Write::Event(event("edge-001", "retail", 3)),
        report("k", "payload", 4),
        rollout("retail", 2, "pending", 5),
        rollout("retail", 2, "success", 6),
    ];
    open(folder.path()).write(&writes).unwrap();

    let store = open(folder.path());
    let records = store.records();
    let state = FleetRecord { fleet: "retail".parse().unwrap(), format: 1, state: br#"{"a":1}"#.to_vec() };
    assert_eq!(records.fleets().unwrap(), [state]);
    assert_eq!(records.heads().unwrap(), [head]);
    assert_eq!(records.tags().unwrap(), [tag]);
    assert_eq!(records.ledgers().unwrap(), [ledger]);
    assert_eq!(records.audit(None, 10).unwrap(), std::slice::from_ref(&audit));
    assert_eq!(records.audit(Some("fleet/retail"), 10).unwrap(), [audit]);
    assert_eq!(records.audit(Some("fleet/reta"), 10).unwrap(), []);
    assert_eq!(records.history(&"edge-001".parse().unwrap(), 10).unwrap(), [event("edge-001", "retail", 3)]);
    let Write::Rollout(last) = rollout("retail", 2, "success", 6) else { unreachable!() };
    let kept = RolloutRecord { began: at(5), ..last };
    assert_eq!(records.rollouts(&"retail".parse().unwrap(), 10).unwrap(), [kept]);
    let due = records.due_reports(at(4), 10).unwrap();
    assert_eq!((due.len(), due[0].payload.as_slice(), due[0].attempts), (1, b"payload".as_slice(), 0));
}

#[test]
fn what_is_forgotten_is_gone_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let writes = [fleet("retail", "{}"), fleet("infra", "{}"), rollout("retail", 1, "pending", 1)];
    store.write(&writes).unwrap();
    store.write(&[rollout("infra", 1, "pending", 1), Write::ForgetFleet("retail".parse().unwrap())]).unwrap();
    let records = store.records();
    let left: Vec<_> = records.fleets().unwrap().into_iter().map(|f| f.fleet.to_string()).collect();
    let rollouts = |fleet: &str| records.rollouts(&fleet.parse().unwrap(), 9).unwrap().len();
    assert_eq!((left, rollouts("retail"), rollouts("infra")), (vec!["infra".to_owned()], 0, 1));
}

#[test]
fn a_newer_report_replaces_one_that_waits_and_outlives_answers_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.write(&[report("a", "old", 1), report("b", "b", 2)]).unwrap();
    assert_eq!(store.records().next_report_at().unwrap(), Some(at(1)));
    let old = store.records().due_reports(at(1), 10).unwrap().remove(0);
    store.write(&[report("a", "new", 3)]).unwrap();
    store
        .write(&[Write::ReportSent { id: old.id }, Write::ReportFailed { id: old.id, next_at: at(9) }])
        .unwrap();
    let due = store.records().due_reports(at(3), 10).unwrap();
    let seen: Vec<_> = due.iter().map(|r| (r.key.as_str(), r.payload.as_slice(), r.attempts)).collect();
    assert_eq!(seen, [("b", b"b".as_slice(), 0), ("a", b"new".as_slice(), 0)]);

    store.write(&[Write::ReportFailed { id: due[1].id, next_at: at(9) }]).unwrap();
    store.write(&[Write::ReportSent { id: due[0].id }]).unwrap();
    assert_eq!(store.records().due_reports(at(8), 10).unwrap(), []);
    assert_eq!(store.records().due_reports(at(9), 10).unwrap()[0].attempts, 1);
}

#[test]
fn history_keeps_the_newest_of_each_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let many = i64::from(MAX_HISTORY_EVENTS) + 10;
    let writes: Vec<_> = (0..many).map(|n| Write::Event(event("edge-001", "retail", n))).collect();
    store
        .write(&[Write::Event(event("edge-001", "infra", -1)), Write::Event(event("edge-002", "retail", -2))])
        .unwrap();
    store.write(&writes).unwrap();
    let history = store.records().history(&"edge-001".parse().unwrap(), 1_000).unwrap();
    assert_eq!(history.len(), MAX_HISTORY_EVENTS as usize + 1);
    assert_eq!(
        (history[0].outcome.as_str(), history.last().unwrap().fleet.as_str()),
        ("outcome 109", "infra")
    );
    assert_eq!(store.records().history(&"edge-002".parse().unwrap(), 1_000).unwrap().len(), 1);
}

#[test]
fn a_group_stands_or_falls_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let impossible = Write::Ledger(KnownLedger {
        target: "edge-001".parse().unwrap(),
        fleet: "retail".parse().unwrap(),
        generation: u64::MAX,
        identity: String::new(),
    });
    let refused = store.write(&[fleet("retail", "{}"), impossible]).unwrap_err();
    assert!(matches!(refused, StoreError::Record { table: "ledgers", .. }), "{refused}");
    assert_eq!(store.records().fleets().unwrap(), []);
    store.write(&[fleet("retail", "{}")]).unwrap();
    assert_eq!(store.records().fleets().unwrap().len(), 1);
}

#[test]
fn a_second_daemon_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let store = open(&state);
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("store.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = Store::open(&state, at(0)).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Locked { pid, .. } if *pid == Some(std::process::id())),
        "{refused}"
    );
    drop(store);
    open(&state);
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    for damage in ["header", "middle", "empty-tail", "text"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let big: Vec<_> = (0..200).map(|n| fleet(&format!("f{n}"), &"x".repeat(2_000))).collect();
        open(folder.path()).write(&big).unwrap();
        let size = std::fs::metadata(&file).unwrap().len();
        let mut db = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        match damage {
            "header" => db.write_all(&[0xff; 64]).unwrap(),
            "middle" => {
                db.seek(SeekFrom::Start(size / 2)).unwrap();
                db.write_all(&vec![0xa5; 64 * 1024]).unwrap();
            }
            "empty-tail" => db.set_len(size / 2).unwrap(),
            _ => std::fs::write(&file, "this is not a database, and long enough to look at ".repeat(100))
                .unwrap(),
        }
        drop(db);
        let damaged = std::fs::read(&file).unwrap();
        let mut store = open(folder.path());
        let aside = store.moved_aside().unwrap_or_else(|| panic!("{damage} was not seen")).to_owned();
        assert_eq!(std::fs::read(&aside).unwrap(), damaged, "{damage}: what was there is kept");
        assert_eq!(store.records().fleets().unwrap(), [], "{damage}");
        store.write(&[fleet("retail", "{}")]).unwrap();
        drop(store);
        let store = open(folder.path());
        assert_eq!((store.moved_aside(), store.records().fleets().unwrap().len()), (None, 1));
    }
}

#[test]
fn the_log_of_a_damaged_file_does_not_get_into_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).write(&[fleet("retail", "old")]).unwrap();
    let mut store = open(folder.path());
    store.write(&[fleet("retail", "new")]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let mut file = std::fs::OpenOptions::new().write(true).open(copy.path().join("store.db")).unwrap();
    file.write_all(&[0xff; 64]).unwrap();
    let mut store = open(copy.path());
    assert!(store.moved_aside().is_some());
    store.write(&[fleet("infra", "{}")]).unwrap();
    drop(store);
    let store = open(copy.path());
    let names: Vec<_> = store.records().fleets().unwrap().into_iter().map(|f| f.fleet.to_string()).collect();
    assert_eq!((store.moved_aside(), names), (None, vec!["infra".to_owned()]));
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).write(&[fleet("retail", "{}")]).unwrap();
    let file = folder.path().join("store.db");
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.execute_batch("CREATE TABLE of_the_future (x)").unwrap();
    newer.close().unwrap();
    let before = std::fs::read(&file).unwrap();
    let refused = Store::open(folder.path(), at(0)).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// What an interrupted writer leaves: a log whose last part is missing.
#[test]
fn a_cut_log_loses_only_its_last_groups() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let wal = folder.path().join("store.db-wal");
    for n in 0..20 {
        store.write(&[fleet("a", &n.to_string()), fleet("b", &n.to_string())]).unwrap();
    }
    // Copied while open: what a process that is killed here leaves.
    let size = std::fs::metadata(&wal).unwrap().len();
    let mut seen = BTreeSet::new();
    for cut in (0..=20).map(|n| size * n / 20) {
        let copy = tempfile::tempdir().unwrap();
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let log = std::fs::OpenOptions::new().write(true).open(copy.path().join("store.db-wal")).unwrap();
        log.set_len(cut).unwrap();
        let store = open(copy.path());
        assert_eq!(store.moved_aside(), None, "cut at {cut}");
        let fleets = store.records().fleets().unwrap();
        assert!(fleets.iter().all(|f| f.state == fleets[0].state), "half a group at {cut}");
        seen.insert(fleets.first().map(|f| String::from_utf8(f.state.clone()).unwrap()));
    }
    assert!(seen.contains(&Some("19".into())) && seen.len() > 5, "{seen:?}");
}

/// The child's part of `what_was_answered_survives_kill_9`: writes, and says each number when it is answered.
#[test]
#[ignore = "a part of another test, in a process of its own"]
#[allow(clippy::disallowed_methods, reason = "the parent says where by the environment")]
fn writes_until_killed() {
    let Some(folder) = std::env::var_os("FAIRLEAD_TEST_STORE") else { return };
    let (handle, _writer) = open(Path::new(&folder)).spawn().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let first = handle.read(Records::fleets).await.unwrap().len();
        for n in first..100_000 {
            let name = format!("f{n}");
            handle.write(vec![fleet(&name, "{}"), report(&name, "x", 0)]).await.unwrap();
            // Past the test harness, which catches `println!`.
            writeln!(std::io::stdout(), "\nanswered {n}").unwrap();
        }
    });
}

#[test]
fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 0..10u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::writes_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env("FAIRLEAD_TEST_STORE", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut answered = None;
        let mut said = |line: &str| {
            answered = line.trim().strip_prefix("answered ").map(|n| n.parse().unwrap()).or(answered)
        };
        let mut line = String::new();
        for _ in 0..2 + round * 7 {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended by itself");
            said(&line);
        }
        std::thread::sleep(Duration::from_micros(round * 300));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        // The last line may be cut off; then it was not fully said.
        rest.lines().filter(|l| rest.contains(&format!("{l}\n"))).for_each(said);
        let store = open(folder.path());
        assert_eq!(store.moved_aside(), None);
        let fleets = store.records().fleets().unwrap();
        let reports = store.records().due_reports(at(0), 1_000_000).unwrap();
        let answered: usize = answered.map_or(0, |n: usize| n + 1);
        assert!(fleets.len() >= answered, "{answered} answered, {} there", fleets.len());
        assert_eq!(fleets.len(), reports.len(), "half a group");
        total = fleets.len();
    }
    assert!(total > 50, "{total}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_share_the_store_and_each_sees_its_own_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (handle, writer) = open(folder.path()).spawn().unwrap();
    let tasks = (0..50).map(|task| {
        let handle = handle.clone();
        async move {
            let name = format!("f{task}");
            for n in 0..20 {
                handle.write(vec![fleet(&name, &n.to_string())]).await.unwrap();
                let fleets = handle.read(Records::fleets).await.unwrap();
                let own = fleets.into_iter().find(|f| f.fleet.as_str() == name).unwrap();
                assert_eq!(own.state, n.to_string().into_bytes());
            }
        }
    });
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap();
    let late = handle.write(vec![fleet("late", "{}")]).await.unwrap_err();
    assert!(matches!(late, StoreError::Stopped), "{late}");
    assert_eq!(open(folder.path()).records().fleets().unwrap().len(), 50);
}

/// Writes that wait while another is written share its successor's transaction, in the order of sending; and one that
/// can't be written fails alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_come_together_are_written_together_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (handle, writer) = open(folder.path()).spawn().unwrap();
    // Holds the store's thread, so that all that follows waits in the queue.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = handle.clone();
    let hold = tokio::spawn(async move { holding.read(move |_| Ok(held.recv().ok())).await });
    let wal = folder.path().join("store.db-wal");
    let mut waiting = Vec::new();
    for n in 0..100_i64 {
        let bad = n == 50;
        let mut write = Box::pin({
            let handle = handle.clone();
            async move {
                let mut writes = vec![Write::Event(event("edge-001", "retail", n))];
                if bad {
                    let (target, fleet) = ("edge-001".parse().unwrap(), "retail".parse().unwrap());
                    let identity = String::new();
                    writes.push(Write::Ledger(KnownLedger { target, fleet, generation: u64::MAX, identity }));
                }
                handle.write(writes).await
            }
        });
        // Polled once, so sent, in this order.
        assert!(futures::poll!(write.as_mut()).is_pending());
        waiting.push(write);
    }
    let before = std::fs::metadata(&wal).unwrap().len();
    release.send(()).unwrap();
    hold.await.unwrap().unwrap();
    let results = futures::future::join_all(waiting).await;
    assert!(results.iter().enumerate().all(|(n, r)| r.is_err() == (n == 50)), "{results:?}");
    let history = handle.read(|r| r.history(&"edge-001".parse().unwrap(), 1_000)).await.unwrap();
    let outcomes: Vec<_> = history.iter().rev().map(|e| e.outcome.clone()).collect();
    let wanted: Vec<_> = (0..100).filter(|n| *n != 50).map(|n| format!("outcome {n}")).collect();
    assert_eq!(outcomes, wanted);
    // One page of 4 KiB holds about 25 events: together that is some pages for table and index, alone at least 200.
    let pages = (std::fs::metadata(&wal).unwrap().len() - before) / 4_096;
    assert!(pages < 60, "{pages} pages were written for 99 groups");
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap();
}
