//! What the shells make of the scripts that complete commands.

use std::process::{Command, Output};

fn script(shell: &str) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_fairlead")).args(["completion", shell]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn run(shell: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(shell).args(arguments).output() {
        Ok(out) => Some(out),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{shell}: {error}"),
    }
}

/// What bash offers after these words.
fn bash(words: &[&str]) -> Vec<String> {
    let list = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let ask = format!(
        "set -eu; source /dev/stdin\nCOMP_WORDS=({list}); COMP_CWORD={}; COMPREPLY=()\n\
         _fairlead fairlead '{}' '{}' || true\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1,
        words.last().unwrap(),
        words[words.len() - 2],
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script("bash")).unwrap();
    let ask = ask.replace("/dev/stdin", file.path().to_str().unwrap());
    let out = run("bash", &["--norc", "-c", &ask]).expect("bash is needed for these tests");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let commands = bash(&["fairlead", "ro"]);
    assert_eq!(commands, ["rollout", "rollback"]);
    let all = bash(&["fairlead", ""]);
    assert!(
        ["validate", "completion", "run"].iter().all(|name| all.contains(&(*name).to_owned())),
        "{all:?}"
    );
    assert!(!all.iter().any(|name| name.contains("check")), "what is hidden is not offered: {all:?}");
    assert_eq!(bash(&["fairlead", "validate", "--out"]), ["--output"]);
    assert_eq!(bash(&["fairlead", "validate", "--output", ""]), ["text", "json", "sarif"]);
    assert_eq!(bash(&["fairlead", "rollout", "h"]), ["history", "help"]);
}

#[test]
fn scripts_of_all_shells_are_whole() {
    for (shell, part) in
        [("bash", "complete -F _fairlead"), ("zsh", "#compdef fairlead"), ("fish", "complete -c fairlead")]
    {
        let text = script(shell);
        assert!(text.contains(part) && text.contains("validate"), "{shell}");
        // The shells that are here read them without a word.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        if let Some(out) = run(shell, &["-n", file.path().to_str().unwrap()]) {
            assert!(out.status.success() && out.stderr.is_empty(), "{shell}: {out:?}");
        }
    }
}

#[test]
fn a_shell_that_is_not_known_is_named() {
    let out = Command::new(env!("CARGO_BIN_EXE_fairlead")).args(["completion", "dash"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8(out.stderr).unwrap().contains("'dash'"));
}
