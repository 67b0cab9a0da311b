//! `fairlead rollback`: going back by a commit, so that Git stays the truth.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};

use jiff::Timestamp;

use super::Outcome;
use super::args;
use super::error::CliError;
use super::forge::{AtForge, refused};
use super::pin::pin_profiles;
use crate::forge::{Client, ForgeError, NewPull};
use crate::repo::{Author, Change, History, RepoError, commit_changes, create_branch};
use fairlead_core::catalog::{Catalog, Folders, LocatedFleet};
use fairlead_core::model::digest::CommitId;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::tree::Tree;

pub fn rollback(args: &args::Rollback) -> Outcome {
    let path = &args.repo.repo;
    // Before anything is written: a command that can't end should not begin.
    let forge = if args.open { Some(opening(args)?) } else { None };
    let history = History::discover(path).map_err(CliError::usage)?;
    let base = history.resolve_branch(&args.base).map_err(CliError::usage)?;
    let to = history.resolve(&args.to).map_err(CliError::usage)?;
    if !history.is_ancestor(to, base).map_err(CliError::usage)? {
        let text = format!("{} is not in the history of {}", to.short(), args.base);
        return Err(CliError::usage(text).hint("name a commit that the branch has had"));
    }
    let changes = if args.pin {
        pin(&history, base, to, &args.fleet)?
    } else {
        restore(&history, base, to, &args.fleet)?
    };
    let message = message(args, to);
    let author = author(path)?;
    let commit = match commit_changes(path, base, &changes, &message, &author) {
        Ok(commit) => commit,
        Err(RepoError::NothingToChange) => {
            let text = format!("fleet {} is what it was at {} already", args.fleet, to.short());
            return Err(CliError::usage(text));
        }
        Err(error) => return Err(CliError::outside(error)),
    };
    let branch = args.branch.clone().unwrap_or_else(|| format!("rollback/{}-{}", args.fleet, to.short()));
    create_branch(path, &branch, commit).map_err(CliError::outside)?;
    anstream::println!("branch {branch} is at {}: fleet {} as of {}", commit.short(), args.fleet, to.short());
    let remote = args.push.as_deref().or(args.open.then_some("origin"));
    match remote {
        Some(remote) => push(path, remote, &branch)?,
        None => anstream::println!("next: git push origin {branch}, and open a pull request"),
    }
    if let Some(client) = forge {
        let pull = NewPull { head: branch, base: args.base.clone(), ..words(&message) };
        anstream::println!("branch {} is pushed", pull.head);
        let link = block_on_pull(&client, &pull)
            .map_err(|error| refused(error, client.repository(), "a token that may open pull requests"))?;
        anstream::println!("pull request: {link}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The forge's client for `--open`.
fn opening(args: &args::Rollback) -> Result<Client, CliError> {
    let forge = AtForge::read(&args.config)?;
    if forge.branch != args.base {
        let text =
            format!("the daemon follows {}, and the pull request would be for {}", forge.branch, args.base);
        return Err(CliError::usage(text).hint(format!("--base {}", forge.branch)));
    }
    forge.client(args.token_file.as_deref())
}

fn block_on_pull(client: &Client, pull: &NewPull) -> Result<String, ForgeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| ForgeError::Settings(format!("no task can be started: {error}")))?;
    runtime.block_on(client.new_pull(pull))
}

/// Title and text of the pull request, as the commit's message has them.
fn words(message: &str) -> NewPull {
    let (title, body) = message.split_once('\n').unwrap_or((message, ""));
    NewPull {
        title: title.to_owned(),
        body: body.trim().to_owned(),
        head: String::new(),
        base: String::new(),
    }
}

fn message(args: &args::Rollback, to: CommitId) -> String {
    let how = if args.pin { "Pin" } else { "Bring" };
    let why = args.why.reason.as_deref().map(|reason| format!("\n\n{reason}")).unwrap_or_default();
    format!("{how} fleet {} back to {}{why}\n", args.fleet, to.short())
}

/// The folders of the fleet's profiles, and the fleet's own file, as they were; refused where another fleet
/// reads them too.
fn restore(
    history: &History,
    base: CommitId,
    to: CommitId,
    name: &FleetName,
) -> Result<Vec<Change>, CliError> {
    let now = catalog(history, base)?;
    let then = catalog(history, to)?;
    let (new, old) = (find(&now, name, base)?, find(&then, name, to)?);
    let mut paths = BTreeSet::new();
    for (catalog, fleet) in [(&now, &new), (&then, &old)] {
        let profiles = fleet.spec.profiles.iter().filter_map(|used| catalog.profile(&used.name));
        paths.extend(profiles.map(|profile| profile.folder.clone()));
    }
    for other in now.fleets().filter(|other| other.metadata.name != *name) {
        let hint = "--pin pins the fleet's profiles to that commit instead";
        for used in &other.spec.profiles {
            if now.profile(&used.name).is_some_and(|profile| paths.contains(&profile.folder)) {
                let text = format!("fleet {} runs profile {} too", other.metadata.name, used.name);
                return Err(CliError::usage(text).hint(hint));
            }
        }
        if other.file() == new.file() {
            let text = format!("fleet {} stands in {} too", other.metadata.name, new.file());
            return Err(CliError::usage(text).hint(hint));
        }
    }
    paths.insert(new.file().to_owned());
    paths.insert(old.file().to_owned());
    Ok(paths.into_iter().map(|path| Change::Restore { path, at: to }).collect())
}

fn pin(history: &History, base: CommitId, to: CommitId, name: &FleetName) -> Result<Vec<Change>, CliError> {
    let catalog = catalog(history, base)?;
    let fleet = find(&catalog, name, base)?;
    let file = fleet.file();
    let tree = history.tree(base).map_err(CliError::outside)?;
    let bytes = tree.read(file).map_err(CliError::outside)?.unwrap_or_default();
    let text = String::from_utf8(bytes.to_vec()).map_err(CliError::usage)?;
    let pinned = pin_profiles(&text, &fleet, to).map_err(|error| {
        CliError::usage(error).hint(format!("write 'revision: {{commit: {to}}}' into {file} yourself"))
    })?;
    Ok(vec![Change::Write { path: file.to_owned(), content: Some(pinned.into_bytes()) }])
}

fn catalog(history: &History, commit: CommitId) -> Result<Catalog, CliError> {
    let tree = history.tree(commit).map_err(CliError::outside)?;
    Ok(Catalog::read(&tree, &Folders::default()))
}

fn find(catalog: &Catalog, name: &FleetName, commit: CommitId) -> Result<LocatedFleet, CliError> {
    let found = catalog.fleet(name).map(|fleet| LocatedFleet::clone(fleet));
    found.ok_or_else(|| CliError::usage(format!("there is no valid fleet {name} at {}", commit.short())))
}

/// Who commits: as Git would, from its settings and environment.
fn author(repo: &Path) -> Result<Author, CliError> {
    let ident = Command::new("git").arg("-C").arg(repo).args(["var", "GIT_AUTHOR_IDENT"]).output();
    let ident = ident.map_err(|error| CliError::outside(error).hint("git must be installed"))?;
    let text = String::from_utf8_lossy(&ident.stdout).into_owned();
    let parts = text.split_once(" <").and_then(|(name, rest)| Some((name, rest.split_once('>')?.0)));
    let Some((name, email)) = parts.filter(|_| ident.status.success()) else {
        let hint = "set user.name and user.email with git config";
        return Err(CliError::usage("Git does not know who you are").hint(hint));
    };
    Ok(Author { name: name.to_owned(), email: email.to_owned(), time: Timestamp::now() })
}

/// With the user's own Git, and so with the user's own credentials.
fn push(repo: &Path, remote: &str, branch: &str) -> Result<(), CliError> {
    let status = Command::new("git").arg("-C").arg(repo).args(["push", remote, branch]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(CliError::outside(format!("git push {remote} {branch} failed"))
            .hint("the branch is there; push it yourself, or open a pull request")),
        Err(error) => Err(CliError::outside(error).hint("git must be installed")),
    }
}
