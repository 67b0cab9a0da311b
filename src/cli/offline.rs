//! Commands that need no daemon: they read a clone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;

use super::Outcome;
use super::args::{self, PlanFormat, ReportFormat};
use super::error::CliError;
use crate::daemon::library::{Library, WORKING_TREE};
use crate::daemon::plans;
use crate::repo::{History, WorkTree};
use fairlead_core::catalog::{Folders, Kind, report, schema};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::fleet::Window;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::schedule::TimeZoneName;
use fairlead_core::plan::offline::comment::ways_text;
use fairlead_core::plan::offline::{FleetPlan, print};
use fairlead_core::release::{self, LayerCache};
use fairlead_core::rollout::{Opening, opening};

/// A library of the repository at `path`, and the commit (or the working tree) to read of it.
fn open(path: &Path, revision: Option<&str>) -> Result<(Arc<Library>, CommitId), CliError> {
    let history = History::discover(path);
    match revision {
        Some(revision) => {
            let history = history
                .map_err(|error| CliError::usage(error).hint("name a clone of the fleet repository"))?;
            let commit = history.resolve(revision).map_err(CliError::usage)?;
            Ok((Arc::new(Library::new(Some(history), Folders::default(), LayerCache::default())), commit))
        }
        None => {
            let tree = WorkTree::open(&root_of(path)).map_err(CliError::usage)?;
            let (library, _) = Library::of_tree(Arc::new(tree), history.ok(), Folders::default());
            Ok((Arc::new(library), WORKING_TREE))
        }
    }
}

/// The folder itself if it holds documents, else the root of the repository that it is in, as for Git's own commands.
fn root_of(path: &Path) -> PathBuf {
    let folders = Folders::default();
    let holds = |path: &Path| Kind::ALL.into_iter().any(|kind| path.join(folders.of(kind)).exists());
    if holds(path) {
        return path.to_owned();
    }
    match WorkTree::root_around(path) {
        Some(root) if std::fs::canonicalize(path).is_ok_and(|path| path != root) => {
            anstream::eprintln!("reading the repository's root, {}", root.display());
            root
        }
        _ => path.to_owned(),
    }
}

pub fn validate(args: &args::Validate) -> Outcome {
    let (library, commit) = open(&args.path, args.rev.as_deref())?;
    let diagnostics = plans::findings(&library, commit).map_err(CliError::outside)?;
    let errors = diagnostics.iter().filter(|finding| finding.is_error()).count();
    match args.output {
        ReportFormat::Text => {
            let source = |file: &str| read_text(&library, commit, file);
            if anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never {
                anstream::print!("{}", report::text(&diagnostics));
            } else {
                anstream::print!("{}", report::coloured(&diagnostics, &source));
            }
            anstream::eprintln!("{}", report::summary(&diagnostics));
        }
        ReportFormat::Json => anstream::println!("{}", report::json(&diagnostics)),
        ReportFormat::Sarif => anstream::println!("{}", report::sarif(&diagnostics)),
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file of what was validated, for showing the line of a finding.
fn read_text(library: &Library, commit: CommitId, file: &str) -> Option<String> {
    let bytes = library.at(commit).ok()?.tree.read(file).ok()??;
    String::from_utf8(bytes.to_vec()).ok()
}

pub fn render(args: &args::Render) -> Outcome {
    let (library, commit) = open(&args.repo.repo, args.rev.as_deref())?;
    let side = plans::Side::read(&library, commit).map_err(CliError::outside)?;
    let asked = |fleet: &FleetName| args.fleet.as_ref().is_none_or(|only| only == fleet);
    let known: BTreeSet<_> =
        side.wanted.keys().filter(|(_, target)| *target == args.target).cloned().collect();
    // Nothing is printed unless all that was asked for is known: a part looks like the whole.
    let unread = side.unread(&known).into_iter().filter(|unread| {
        let fleet = unread.what.strip_prefix("fleet ").and_then(|name| name.parse().ok());
        fleet.is_none_or(|fleet| asked(&fleet))
            && unread.target.as_ref().is_none_or(|target| *target == args.target)
    });
    let mut unknown: Vec<String> =
        unread.map(|unread| format!("{} can't be read: {}", unread.what, unread.reason)).collect();
    let (mut releases, mut found) = (Vec::new(), false);
    for ((fleet, target), wanted) in side.wanted {
        if target != args.target || !asked(&fleet) {
            continue;
        }
        found = true;
        match wanted.release {
            Ok(release) => releases.push(release),
            Err(reason) => unknown.push(format!("{target} ({fleet}): {reason}")),
        }
    }
    let hint = "run 'fairlead validate' for the full list";
    if !unknown.is_empty() {
        return Err(CliError::usage(unknown.join("\n")).hint(hint));
    }
    if !found {
        let fleet = args
            .fleet
            .as_ref()
            .map_or("no fleet".to_owned(), |fleet| format!("fleet {fleet} does not exist, or"));
        let has = if args.fleet.is_some() { "does not select" } else { "selects" };
        return Err(CliError::usage(format!("{fleet} {has} target {}", args.target)).hint(hint));
    }
    for release in releases {
        let yaml = release::to_yaml(&release, args.reveal_secrets).map_err(CliError::outside)?;
        anstream::print!("{yaml}");
    }
    Ok(ExitCode::SUCCESS)
}

pub fn plan(args: &args::Plan) -> Outcome {
    let (library, to) = open(&args.repo.repo, Some(args.to.as_deref().unwrap_or("HEAD")))?;
    let failed = |error: plans::PlanError| CliError::usage(error);
    let from = plans::resolve(&library, args.from.as_deref(), None).map_err(failed)?;
    let mut plan = plans::between(&library, from, to).map_err(failed)?;
    plan.keep_targets(&args.target);
    let shown = show_plan(&plan, args.output)?;
    if let PlanFormat::Text = args.output {
        let ways = plans::ways(plans::read(&library, to).map_err(CliError::outside)?);
        anstream::print!("{}", ways_text(&plan, &ways, |way| next_opening(&way.windows, Timestamp::now())));
    }
    Ok(shown)
}

/// When a fleet's windows open, if they are closed now, for targets that name no time zone of their own.
fn next_opening(windows: &[Window], now: Timestamp) -> Option<String> {
    let zone = windows.iter().find_map(|window| window.time_zone.clone()).unwrap_or_else(TimeZoneName::utc);
    match opening(&[windows], None, now) {
        Opening::Open { .. } => None,
        Opening::Closed { opens: None } => Some("none of its windows opens again".to_owned()),
        Opening::Closed { opens: Some(opens) } => {
            Some(format!("its windows open {}, or at that time on a target's own clocks", zone.shown(opens)))
        }
    }
}

/// Prints a plan; plans are shown alike whether they were made here or by the daemon. It fails where something that was
/// asked about is unknown.
pub(super) fn show_plan(plan: &FleetPlan, format: PlanFormat) -> Outcome {
    match format {
        PlanFormat::Text => anstream::print!("{}", print::text(plan)),
        PlanFormat::Markdown => anstream::print!("{}", print::markdown(plan)),
        PlanFormat::Json => {
            let json = serde_json::to_string_pretty(plan).map_err(CliError::outside)?;
            anstream::println!("{json}");
        }
    }
    if plan.is_partial() {
        anstream::eprintln!("not everything that was asked about is known: see 'no plan' and 'not read'");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn schema(args: &args::Schema) -> Outcome {
    for (file, document) in schema::documents() {
        let mut text = serde_json::to_string_pretty(&document).map_err(CliError::outside)?;
        text.push('\n');
        match &args.write {
            None => anstream::print!("{text}"),
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(CliError::outside)?;
                std::fs::write(folder.join(file), text).map_err(CliError::outside)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
