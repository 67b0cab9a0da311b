//! Holds the rooms to the architecture: which may use which, what pure ones may not do, and how each opens.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, where it is, and the rooms that it may use. Crates hold the coarse arrows, this table the fine ones.
const ROOMS: [(&str, &str, &[&str]); 18] = [
    ("model", "crates/core/src/model", &[]),
    ("catalog", "crates/core/src/catalog", &["model"]),
    ("release", "crates/core/src/release", &["catalog", "model"]),
    ("plan", "crates/core/src/plan", &["model", "release"]),
    ("rollout", "crates/core/src/rollout", &["model"]),
    ("private", "crates/private/src", &[]),
    ("net", "crates/net/src", &["private"]),
    ("cluster", "crates/cluster/src", &["model", "net", "plan", "private"]),
    ("sim", "crates/sim/src", &["catalog", "model"]),
    ("lock", "src/lock.rs", &[]),
    ("files", "src/files.rs", &[]),
    ("simulated", "src/simulated", &["cluster", "model", "sim"]),
    ("repo", "src/repo", &["lock", "model", "net", "private"]),
    ("store", "src/store", &["lock", "model", "private"]),
    ("forge", "src/forge", &["model", "net", "private", "repo", "rollout", "store"]),
    ("server", "src/server", &["model", "private", "rollout"]),
    (
        "daemon",
        "src/daemon",
        &[
            "catalog",
            "cluster",
            "forge",
            "model",
            "plan",
            "private",
            "release",
            "repo",
            "rollout",
            "server",
            "sim",
            "simulated",
            "store",
        ],
    ),
    (
        "cli",
        "src/cli",
        &[
            "catalog",
            "cluster",
            "daemon",
            "files",
            "forge",
            "model",
            "net",
            "plan",
            "release",
            "repo",
            "rollout",
            "server",
            "sim",
            "simulated",
        ],
    ),
];
const PURE: [&str; 5] = ["model", "catalog", "plan", "rollout", "release"];
/// The one part of a pure room that may touch the disk: the cache of rendered layers.
const EXEMPT: &str = "crates/core/src/release/render/";
/// What a pure room does not do, beyond what its crate has no library for.
const BANNED: [&str; 8] = [
    "async fn",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
];

#[test]
fn rooms_use_what_the_table_allows_and_the_page_shows_it() {
    let mut wrong = Vec::new();
    for (room, place, allowed) in ROOMS {
        let mut used = BTreeSet::new();
        for file in sources(place.into()) {
            let code = code_of(&file);
            for (number, line) in code.lines().enumerate() {
                for other in rooms_in(line, place).into_iter().filter(|other| other != room) {
                    if !allowed.contains(&other.as_str()) {
                        wrong.push(format!("{}:{}: {room} uses {other}", file.display(), number + 1));
                    }
                    used.insert(other);
                }
            }
        }
        for allowed in allowed.iter().filter(|allowed| !used.contains(**allowed)) {
            wrong.push(format!("{room} does not use {allowed} any more: take it out of the table"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    crate::docs::hold("docs/architecture.md", "the table of rooms", &table());
}

/// Inside `rollout`, too: what is said follows from what was decided, and that from the state.
#[test]
fn rollout_decides_from_its_state_and_reports_on_both() {
    let room = Path::new("crates/core/src/rollout");
    for (part, others) in [("state", &["decide", "report", "step"][..]), ("decide", &["report", "step"])] {
        for file in sources(room.join(part)) {
            let code = code_of(&file);
            for other in others {
                let uses = [
                    format!("rollout::{other}"),
                    format!("super::{other}::"),
                    format!("super::super::{other}"),
                ];
                assert!(
                    !uses.iter().any(|one| code.contains(one)),
                    "{}: {part} uses {other}",
                    file.display()
                );
            }
        }
    }
}

/// For docs/architecture.md.
fn table() -> String {
    let rows = ROOMS.map(|(room, place, uses)| {
        let uses: Vec<_> = uses.iter().map(|one| format!("`{one}`")).collect();
        let uses = if uses.is_empty() { "nothing".to_owned() } else { uses.join(", ") };
        format!("| `{room}` | `{place}` | {uses} |\n")
    });
    "| Room | Where | Uses |\n|---|---|---|\n".to_owned() + &rows.concat()
}

/// The rooms that a line of code names.
fn rooms_in(line: &str, place: &str) -> Vec<String> {
    // A crate that is one room has no others inside.
    let inside = (!["crates/net", "crates/private", "crates/cluster", "crates/sim"]
        .iter()
        .any(|one| place.starts_with(one)))
    .then_some("crate::");
    let mut found = Vec::new();
    for path in inside.into_iter().chain(["fairlead_core::"]) {
        for (at, _) in line.match_indices(path) {
            let rest = &line[at + path.len()..];
            assert!(!rest.starts_with('{'), "name one room in a `use`: {line}");
            found.push(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned());
        }
    }
    let crates = ["net", "private", "cluster", "sim"];
    found.extend(
        crates.iter().filter(|one| line.contains(&format!("fairlead_{one}"))).map(|one| (*one).to_owned()),
    );
    found
}

#[test]
fn pure_rooms_have_no_io() {
    let mut wrong = Vec::new();
    for (room, place, _) in ROOMS.iter().filter(|(room, ..)| PURE.contains(room)) {
        for file in sources(place.into()) {
            let name = file.display().to_string();
            if name.starts_with(EXEMPT) {
                continue;
            }
            for (number, line) in code_of(&file).lines().enumerate() {
                for banned in BANNED.iter().filter(|banned| line.contains(**banned)) {
                    wrong.push(format!("{name}:{}: {room} has {banned}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "pure rooms reach outside:\n{}", wrong.join("\n"));
}

/// What proves that the core is pure: among all that it is built of is no runtime, no HTTP, no Git, no database.
#[test]
fn the_core_is_built_without_a_runtime_http_git_or_a_database() {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--package", "fairlead-core", "--edges", "normal"]);
    let output = cargo.args(["--prefix", "none", "--format", "{p}"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("serde_json"), "{tree}");
    let banned = [
        "tokio",
        "async-std",
        "smol",
        "futures-executor",
        "hyper",
        "http",
        "git2",
        "libgit2-sys",
        "rusqlite",
        "kube",
    ];
    for banned in banned {
        assert!(
            !names.contains(banned),
            "fairlead-core is built with {banned}: cargo tree -p fairlead-core -i {banned}"
        );
    }
}

#[test]
fn simulated_clusters_touch_nothing_outside() {
    // The clock is given, and nothing is read or written; the front for a process of its own alone has sockets.
    let banned =
        ["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant::now", "Timestamp::now"];
    for file in sources(PathBuf::from("crates/sim/src")) {
        let name = file.display().to_string();
        if name.starts_with("crates/sim/src/serve") {
            continue;
        }
        let code = code_of(&file);
        // The clock of the runtime is one that tests may stop.
        let stoppable = code.contains("use tokio::time::Instant;");
        for banned in banned.into_iter().filter(|banned| !(stoppable && *banned == "Instant::now")) {
            assert!(!code.contains(banned), "{name} has {banned}");
        }
    }
}

/// The one thing of one forge that is a setting of its own: GitHub's Apps.
const APPS: [&str; 3] = ["src/forge/credential.rs", "src/forge/settings.rs", "src/forge/mod.rs"];

#[test]
fn a_new_forge_is_one_file_and_its_name_in_a_list() {
    let kinds: Vec<_> =
        sources(PathBuf::from("src/forge/kinds")).iter().map(|file| file.display().to_string()).collect();
    let wanted = ["gitea", "github", "gitlab", "mod"].map(|name| format!("src/forge/kinds/{name}.rs"));
    assert_eq!(kinds, wanted);
    let crates = ["core", "net", "private", "cluster", "sim"].map(|name| format!("crates/{name}/src"));
    for file in crates.iter().map(String::as_str).chain(["src"]).flat_map(|place| sources(place.into())) {
        let name = file.display().to_string();
        if kinds.contains(&name) {
            continue;
        }
        let code = code_of(&file).replace("GitHubApp", "App").to_lowercase();
        for forge in ["github", "gitlab", "gitea", "forgejo", "bitbucket"] {
            let known = code.contains(forge) && !(APPS.contains(&&*name) && forge == "github");
            assert!(!known, "{name} knows {forge}: what differs between forges is in src/forge/kinds");
        }
    }
}

#[test]
fn every_room_opens_with_its_contract() {
    for (room, place, _) in ROOMS {
        let files = [place.to_owned(), format!("{place}/mod.rs"), format!("{place}/lib.rs")];
        let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap();
        assert!(text.starts_with("//! "), "{room} says nothing of itself");
    }
}

/// A file's text with comments and everything from its unit tests on blanked, line by line.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let tests = text.match_indices("#[cfg(test)]\nmod ").find(|(at, found)| {
        let rest = &text[at + found.len()..];
        rest.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    let code = tests.map_or(&*text, |(at, _)| &text[..at]);
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn sources(folder: PathBuf) -> Vec<PathBuf> {
    if folder.is_file() {
        return vec![folder];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            // A room's unit tests may read files and look at the clock.
            if !path.ends_with("tests") {
                found.extend(sources(path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
