//! Holds the documents for people to the program: examples validate, commands exist, tables are those of
//! the schemas.
//!
//! `FAIRLEAD_BLESS=1 cargo test docs::` writes the tables anew.

mod fields;
mod quotes;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use fairlead::daemon::Settings;
use fairlead_core::catalog::schema;
use fairlead_sim::faults::Script;
use serde::Deserialize;
use serde_json::Value;

const PAGES: [&str; 8] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/format.md",
    "docs/health.md",
    "docs/operations.md",
    "docs/rollouts.md",
    "docs/forges.md",
];
/// Where commands stand by themselves in a line.
const CI: [&str; 3] = ["examples/ci/gitea.yaml", "examples/ci/github.yaml", "examples/ci/gitlab.yaml"];

fn read(page: &str) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The fenced blocks of a language, each with the number of its first line.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in read(page).lines().enumerate() {
        match &mut open {
            None if line == format!("```{language}") => open = Some((number + 2, String::new())),
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, text)) => *text += &format!("{line}\n"),
            None => {}
        }
    }
    blocks
}

#[test]
fn examples_of_documents_and_settings_validate() {
    let schemas: BTreeMap<String, Value> = schema::documents()
        .into_iter()
        .map(|(_, schema)| (schema["title"].as_str().unwrap().to_owned(), schema))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let (mut documents, mut settings, mut scripts) = (0, 0, 0);
    for page in PAGES {
        for (line, text) in blocks(page, "yaml") {
            for document in serde_norway::Deserializer::from_str(&text) {
                let value = Value::deserialize(document).unwrap_or_else(|e| panic!("{page}:{line}: {e}"));
                if value["apiVersion"] == fairlead_core::model::API_VERSION {
                    let kind = value["kind"].as_str().unwrap_or_default();
                    let schema = schemas.get(kind).unwrap_or_else(|| panic!("{page}:{line}: kind {kind:?}"));
                    let validator = jsonschema::options().offline().build(schema).unwrap();
                    let errors: Vec<String> = validator
                        .iter_errors(&value)
                        .map(|e| format!("{}: {e}", e.instance_path()))
                        .collect();
                    assert!(errors.is_empty(), "{page}:{line}: {errors:#?}");
                    documents += 1;
                } else if value["repository"].is_object() {
                    let file = folder.path().join("fairlead.yaml");
                    fs::write(&file, &text).unwrap();
                    Settings::read(&file).unwrap_or_else(|error| panic!("{page}:{line}: {error}"));
                    settings += 1;
                } else if value["rules"].is_array() {
                    let script = Script::parse("faults.yaml", text.as_bytes());
                    script.unwrap_or_else(|error| panic!("{page}:{line}: {error}"));
                    scripts += 1;
                }
            }
        }
    }
    assert!(documents >= 5 && settings >= 2 && scripts == 1, "{documents}, {settings}, {scripts}");
}

#[test]
fn the_rules_of_health_are_listed() {
    let page = read("docs/health.md");
    for (group, kind) in fairlead_cluster::health::kinds_with_a_rule() {
        let row = page.lines().any(|line| {
            let first = line.strip_prefix("| ").and_then(|line| line.split(" | ").next());
            first.is_some_and(|kinds| kinds.split(", ").any(|one| one == format!("`{kind}`")))
        });
        assert!(row, "docs/health.md has no row for {kind} of {group:?}");
    }
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fairlead")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn commands() -> Vec<String> {
    let help = help(&[]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What follows `fairlead ` where a page shows a command: in code, or after a prompt.
fn shown(page: &str) -> Vec<(usize, String)> {
    let mut shown = Vec::new();
    for (number, line) in read(page).lines().enumerate() {
        for start in ["`fairlead ", "$ fairlead ", "run -- "] {
            for (at, _) in line.match_indices(start) {
                let rest = &line[at + start.len()..];
                let end = rest.find(['`', '#', '|']).unwrap_or(rest.len());
                shown.push((number + 1, rest[..end].trim().to_owned()));
            }
        }
    }
    shown
}

/// The same of a file for CI, where a command is a line of a script.
fn scripted(file: &str) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = text.lines().enumerate().filter_map(|(number, line)| {
        let command =
            line.trim_start_matches([' ', '-']).trim_start_matches("run: ").strip_prefix("fairlead ")?;
        let end = command.find(['>', '|']).unwrap_or(command.len());
        Some((number + 1, command[..end].trim().to_owned()))
    });
    lines.collect()
}

#[test]
fn commands_and_options_that_pages_show_exist() {
    let commands = commands();
    let helps: BTreeMap<&str, String> = commands.iter().map(|name| (name.as_str(), help(&[name]))).collect();
    let mut seen = 0;
    let pages = PAGES.into_iter().map(|page| (page, shown(page)));
    let scripts = CI.into_iter().map(|file| (file, scripted(file))).inspect(|(file, found)| {
        assert!(found.len() >= 2, "{file} has no commands");
    });
    for (page, commands) in pages.chain(scripts) {
        for (line, command) in commands {
            let mut words = command.split_whitespace();
            let Some(name) = words.next().filter(|name| !name.starts_with('-')) else { continue };
            let help = helps.get(name).unwrap_or_else(|| panic!("{page}:{line}: no command {name}"));
            for option in words.filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                assert!(help.contains(option), "{page}:{line}: fairlead {name} has no {option}\n{help}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    let operations = read("docs/operations.md");
    for name in &commands {
        assert!(
            operations.contains(&format!("`fairlead {name}")),
            "docs/operations.md lacks fairlead {name}"
        );
    }
}

#[test]
fn tables_of_fields_are_those_of_the_schemas() {
    let documents: BTreeMap<&str, Value> = schema::documents().into_iter().collect();
    for name in documents.keys() {
        hold("docs/format.md", name, &fields::table(&documents[name]));
    }
    hold("docs/format.md", "the table of controllers' fields", &controllers());
    let settings = schemars::schema_for!(Settings).to_value();
    hold("docs/operations.md", "settings", &fields::table(&settings));
}

/// Fields that are not sent. Rows of one kind, condition and owner are one.
fn controllers() -> String {
    let mut rows: Vec<(String, String, String, &str)> = Vec::new();
    for (_, kind, field, when, owner) in fairlead_core::plan::controllers::TABLE {
        let kind = match (kind.is_empty(), *field) {
            (true, "/status") => "every kind of Kubernetes' own".to_owned(),
            (true, _) => "every kind".to_owned(),
            (false, _) => format!("`{kind}`"),
        };
        let field = format!("`{field}`");
        match rows.last_mut().filter(|row| row.0 == kind && row.2 == when.to_string() && row.3 == *owner) {
            Some(row) => row.1 = format!("{}, {field}", row.1),
            None => rows.push((kind, field, when.to_string(), owner)),
        }
    }
    let head = "| Kind | Field | Not sent | Owner |\n|---|---|---|---|\n".to_owned();
    rows.iter().fold(head, |text, (kind, field, when, owner)| {
        text + &format!("| {kind} | {field} | {when} | {owner} |\n")
    })
}

/// Holds what a page has between two marks to what it should have; or writes it.
pub fn hold(page: &str, name: &str, wanted: &str) {
    let text = read(page);
    let (start, end) = (format!("<!-- made from {name} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{page} has no {start}"));
    let (found, after) = rest.split_once(end).unwrap();
    let wanted = format!("\n{wanted}\n");
    if std::env::var_os("FAIRLEAD_BLESS").is_some() {
        fs::write(page, format!("{before}{start}{wanted}{end}{after}")).unwrap();
    } else {
        assert!(found == wanted, "{page}: the table of {name} is old: FAIRLEAD_BLESS=1 writes it");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in PAGES {
        let text = read(page);
        let folder = std::path::Path::new(page).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                assert!(folder.join(link).exists(), "{page}: {link} is not there");
            }
        }
    }
}

#[test]
fn libraries_that_contributors_read_of_are_used() {
    let manifest = read("Cargo.toml");
    let page = read("CONTRIBUTING.md");
    let (_, table) = page.split_once("| For | We use |").unwrap();
    let mut seen = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let used = row.split('|').nth(2).unwrap();
        // Of what is in code type, names of libraries; `cron` is named as one that is not used.
        let is_name = |text: &&str| {
            text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
        };
        for name in used.split('`').skip(1).step_by(2).filter(is_name).filter(|name| *name != "cron") {
            assert!(manifest.contains(&format!("\n{name} = ")), "Cargo.toml has no {name}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}
