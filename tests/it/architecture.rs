//! Holds the rooms to the architecture: pure rooms know no IO, and only the daemon knows all rooms.

use std::fs;
use std::path::{Path, PathBuf};

const PURE: [&str; 5] = ["model", "catalog", "plan", "rollout", "release"];
/// The one part of a pure room that may touch the disk: the cache of rendered layers.
const EXEMPT: [&str; 1] = ["src/release/render/"];
const IO: [&str; 9] = ["repo", "cluster", "forge", "net", "store", "server", "sim", "daemon", "cli"];
const BANNED: [&str; 9] = [
    "async fn",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "tokio::",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
];

#[test]
fn pure_rooms_have_no_io() {
    let mut wrong = Vec::new();
    for room in PURE {
        for file in sources(Path::new("src").join(room)) {
            let name = file.display().to_string();
            if EXEMPT.iter().any(|exempt| name.starts_with(exempt)) {
                continue;
            }
            let code = code_of(&file);
            let imports = IO.iter().map(|io| format!("crate::{io}::"));
            for banned in BANNED.iter().map(|b| (*b).to_owned()).chain(imports) {
                for (number, _) in code.lines().enumerate().filter(|(_, line)| line.contains(&banned)) {
                    wrong.push(format!("{name}:{}: {banned}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "pure rooms reach outside:\n{}", wrong.join("\n"));
}

#[test]
fn simulated_clusters_touch_nothing_outside() {
    // The clock is given, and nothing is read or written; the front for a process of its own alone has sockets.
    let banned =
        ["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant::now", "Timestamp::now"];
    for file in sources(PathBuf::from("src/sim")) {
        let name = file.display().to_string();
        if name.starts_with("src/sim/serve") {
            continue;
        }
        let code = code_of(&file);
        for banned in banned {
            assert!(!code.contains(banned), "{name} has {banned}");
        }
    }
}

#[test]
fn only_the_edge_knows_the_daemon() {
    for room in PURE.iter().chain(&["repo", "cluster", "forge", "net", "store", "server", "sim"]) {
        for file in sources(Path::new("src").join(room)) {
            let code = code_of(&file);
            for above in ["crate::daemon::", "crate::cli::"] {
                assert!(!code.contains(above), "{} imports {above}", file.display());
            }
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
    for file in sources(PathBuf::from("src")) {
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
    for room in PURE.iter().chain(&IO) {
        let text = fs::read_to_string(format!("src/{room}/mod.rs")).unwrap();
        assert!(text.starts_with("//! "), "src/{room}/mod.rs says nothing of itself");
    }
}

/// A file's text with comments and everything from its unit tests on blanked, line by line.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn sources(folder: PathBuf) -> Vec<PathBuf> {
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
