//! Runs every script in `tests/scenarios`: lines that begin with `> ` are commands to a small world with a
//! virtual clock, the lines below each are what happened, `#` is a comment.
//!
//! `FAIRLEAD_BLESS=1 cargo test --test it scenarios` writes what happens into the scripts; read the diff.

mod commit;
mod show;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use world::World;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    scripts.sort();
    scripts
}

/// The script as it would read if what happens now were right.
fn play(script: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(text, "{line}").unwrap();
            let happened =
                world.run(command).unwrap_or_else(|error| vec![format!("MISTAKE IN SCRIPT: {error}")]);
            happened.iter().for_each(|line| writeln!(text, "  {line}").unwrap());
        } else if line.starts_with('#') || line.is_empty() {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a person asks for new golden texts")]
fn scripts_tell_what_happens() {
    let bless = std::env::var_os("FAIRLEAD_BLESS").is_some();
    let mut wrong = String::new();
    let scripts = scripts();
    assert!(scripts.len() > 60, "only {} scripts found", scripts.len());
    for path in scripts {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = play(&script);
        assert!(!played.contains("MISTAKE IN SCRIPT"), "{}:\n{played}", path.display());
        if bless {
            std::fs::write(&path, &played).unwrap();
        } else if script != played {
            let diff = similar::TextDiff::from_lines(&script, &played);
            let diff = diff.unified_diff().header("the script", "what happens").to_string();
            writeln!(wrong, "{}\n{diff}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
