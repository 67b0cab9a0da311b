//! `fairlead demo` through the built binary, as on a fresh machine: nothing but itself.

#[path = "../harness/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use terminal::{Terminal, text};

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    // Neither git nor kubectl; a home without settings of Git.
    command.arg("demo").args(arguments).env_clear().env("PATH", "/nonexistent");
    command.env("HOME", folder).env("TMPDIR", folder);
    command
}

fn demo(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_script_leads_through_the_whole_tour_without_anything_installed() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["--script", "--speed", "fast"]);
    let text = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "control codes on a pipe: {text}");
    let mut rest = text.as_str();
    for said in [
        "24 clusters run the first commit",
        "== 1 of 7: A good change",
        "$ git commit -am 'Shop 1.5.0, with a promotion'",
        "21 shops run 1.5.0",
        "42 apply",
        "== 2 of 7: A bad change",
        "returning",
        "The bad change came back: it reached ",
        "== 3 of 7",
        "$ git revert --no-edit",
        "after the revert. 0 requests.",
        "== 4 of 7",
        "21 shops are back at the first version",
        "21 delete",
        "== 5 of 7: Drift",
        "Put right within ",
        "drift put right: Deployment shop/web",
        "1 object healed",
        "== 6 of 7: A cluster goes offline",
        "eu-shop-002 offline",
        "eu-shop-002 was away; it caught up",
        "== 7 of 7: A commit that touches nothing",
        "2 s later still 0 requests.",
        "● 24 converged",
        "== That was the tour",
        "fairlead run --config",
    ] {
        let (_, after) =
            rest.split_once(said).unwrap_or_else(|| panic!("no {said:?} in its turn in\n{text}"));
        rest = after;
    }
    assert!(!text.contains("could not be done"), "{text}");
}

#[test]
fn what_it_cannot_do_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("mine"), "").unwrap();
    let full = full.to_str().unwrap();
    for (arguments, wanted) in [
        (&["--script", "--dir", full][..], "is not empty\nhint: name a new one with --dir"),
        (&["--script", "--clusters", "0"], "0 is not in 1..=5000"),
        (&["--script", "--clusters", "100000"], "100000 is not in 1..=5000"),
        (&["--script", "--dir", "/dev/null/x"], "cannot use the folder /dev/null/x"),
        (&[], "there is no terminal to draw on\nhint: --script"),
    ] {
        let output = demo(folder.path(), arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(wanted), "{arguments:?}: {errors}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{arguments:?} left something");
    }
}

/// Reads pictures until one holds a text.
fn until(terminal: &mut Terminal, wanted: &str) -> String {
    let patience = Duration::from_secs(60);
    let began = Instant::now();
    loop {
        let picture = terminal.next(patience).unwrap().map(text).expect("the demo goes on");
        if picture.contains(wanted) {
            return picture;
        }
        assert!(began.elapsed() < patience, "no {wanted:?} in\n{picture}");
    }
}

#[test]
fn on_a_terminal_keys_lead_on_and_everything_is_as_it_was_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for end in ["q", "\u{3}", "SIGTERM"] {
        let mut terminal = Terminal::run(command(folder.path(), &["--clusters", "6"]), 100, 30).unwrap();
        let first = until(&mut terminal, "Fairlead demo");
        assert!(first.contains("the daemon reads the repository"), "{first}");
        let ready = until(&mut terminal, "Next, 1 of 7: A good change");
        assert!(ready.contains("6 clusters run the first commit"), "{ready}");
        assert!(ready.contains("● us-shop-002"), "{ready}");
        assert!(terminal.alternate && !terminal.cursor_shown);
        terminal.press("n").unwrap();
        let rolled = until(&mut terminal, "6 shops run 1.5.0");
        assert!(rolled.contains("$ git commit -am 'Shop 1.5.0"), "{rolled}");
        match end {
            "SIGTERM" => terminal.terminate().unwrap(),
            key => terminal.press(key).unwrap(),
        }
        let (status, left) = terminal.end(Duration::from_secs(20)).unwrap();
        assert!(status.success(), "{status} {left}");
        assert!(left.contains("The demo is over; its folder stays."), "{left}");
    }
}
