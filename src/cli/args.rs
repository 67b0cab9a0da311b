//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::examples::{
    ACCEPT, APPROVE, AUDIT, COMPLETION, EXPLAIN, PAUSE, RESUME, RETRY, ROLLBACK, ROLLOUT, STOP, WEBHOOK,
};
use super::table::Output;
use crate::daemon;
use fairlead_core::model::name::{FleetName, TargetName, WaveName};
use fairlead_sim::faults::Wait;

/// Keeps a fleet of Kubernetes clusters true to the cluster profiles in a Git repository.
#[derive(Debug, Parser)]
#[command(name = "fairlead", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Colour in the output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show Fairlead at work on a fleet of simulated clusters, with a tour; needs nothing else.
    Demo(Demo),
    /// Report every mistake in a fleet repository.
    Validate(Validate),
    /// Print the objects that a target should have, as YAML.
    Render(Render),
    /// Print what the change from one commit to another does to every target.
    Plan(Plan),
    /// Follow the repository and keep the clusters true to it.
    Run(Run),
    /// Show the fleets and targets of the running daemon.
    Status(Status),
    /// Show what a target has run.
    History(History),
    /// Say what a target runs, what it should run, and why it is not there yet.
    #[command(after_help = EXPLAIN)]
    Explain(Explain),
    /// Show how a fleet's rollout stands, or those it had.
    #[command(subcommand, after_help = ROLLOUT)]
    Rollout(Rollout),
    /// Accept a held revision: a rewritten branch, a moved tag, a commit off the branch.
    #[command(after_help = ACCEPT)]
    Accept(Accept),
    /// Allow what waits for an approval: deletions, targets that leave, waves.
    #[command(after_help = APPROVE)]
    Approve(Approve),
    /// Let no change start in a fleet until it is resumed; healing and returns go on.
    #[command(after_help = PAUSE)]
    Pause(FleetCommand),
    /// Go on with a fleet that is paused; without a fleet, end an emergency stop.
    #[command(after_help = RESUME)]
    Resume(Resume),
    /// In an emergency: stop every write to every cluster at once, healing too.
    #[command(after_help = STOP)]
    Stop(Stop),
    /// Take the releases of a failed rollout out of quarantine and try them again.
    #[command(after_help = RETRY)]
    Retry(FleetCommand),
    /// Take over objects that were in a cluster before, where other managers own fields of them.
    Adopt(TargetCommand),
    /// Release all objects of a target and remove its ledgers; the objects stay.
    Leave(TargetCommand),
    /// Fetch the repository now.
    Sync(Sync),
    /// Show who told the daemon to do what, when and why.
    #[command(after_help = AUDIT)]
    Audit(Audit),
    /// Write a commit that brings a fleet back to what it was at an older one.
    #[command(after_help = ROLLBACK)]
    Rollback(Rollback),
    /// Print what to paste into the forge so that it tells the daemon of pushes, or put it there.
    #[command(after_help = WEBHOOK)]
    Webhook(Webhook),
    /// Serve simulated clusters on a loopback port, with a kubeconfig for each.
    Sim(Sim),
    /// Print the JSON Schemas of the documents, or write them into a folder.
    Schema(Schema),
    /// Print a script that completes commands, options and their values in a shell.
    #[command(after_help = COMPLETION)]
    Completion(Completion),
    /// What the daemon runs to read a pull request: the question on standard input, the answer on standard output.
    #[command(hide = true, name = daemon::CHECK_COMMAND)]
    CheckPull,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Write the fleet repository and the daemon's settings into this folder, which must be new or empty;
    /// default: a new one among temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// How many clusters to simulate, 1 to 5000.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub clusters: u16,
    /// Lead through the tour without waiting for keys, then end; without a terminal, in plain lines.
    #[arg(long)]
    pub script: bool,
    /// How fast the tour goes with --script.
    #[arg(long, value_enum, default_value_t = Speed::Normal)]
    pub speed: Speed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Speed {
    /// Twenty seconds to read before each step.
    Slow,
    /// Eight seconds to read before each step.
    Normal,
    /// No time to read.
    Fast,
}

/// Where the fleet repository is.
#[derive(Debug, Clone, Args)]
pub struct Repo {
    /// The fleet repository: a folder inside a clone, or a bare repository.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub repo: PathBuf,
}

#[derive(Debug, Args)]
pub struct Validate {
    /// The fleet repository.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Read this commit, branch or tag instead of the working tree.
    #[arg(long, value_name = "REVISION")]
    pub rev: Option<String>,
    /// How to print the findings; SARIF is what forges read.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Text)]
    pub output: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Text,
    Json,
    Sarif,
}

#[derive(Debug, Args)]
pub struct Render {
    /// The target's name.
    pub target: TargetName,
    /// Only this fleet's release; default: those of all fleets that the target is in.
    #[arg(long)]
    pub fleet: Option<FleetName>,
    /// Read this commit, branch or tag instead of the working tree.
    #[arg(long, value_name = "REVISION")]
    pub rev: Option<String>,
    /// Print the values of Secrets.
    #[arg(long)]
    pub reveal_secrets: bool,
    #[command(flatten)]
    pub repo: Repo,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// The commit, branch or tag before the change; with --live, what the clusters have takes its place.
    #[arg(long, value_name = "REVISION", required_unless_present = "live")]
    pub from: Option<String>,
    /// The commit, branch or tag after the change; default: HEAD, with --live the daemon's head.
    #[arg(long, value_name = "REVISION")]
    pub to: Option<String>,
    /// Compare with what the clusters really have, through the running daemon.
    #[arg(long, conflicts_with = "from")]
    pub live: bool,
    /// Only these targets.
    #[arg(long, value_name = "NAME")]
    pub target: Vec<TargetName>,
    /// How to print the plan; Markdown is for a pull request.
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
    #[command(flatten)]
    pub repo: Repo,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    Markdown,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The settings file.
    #[arg(long, value_name = "FILE", default_value = "fairlead.yaml")]
    pub config: PathBuf,
    /// How log lines look, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log, e.g. `info` or `fairlead=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How to reach the running daemon.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// The daemon's settings file: its socket is in the state folder.
    #[arg(long, value_name = "FILE", default_value = "fairlead.yaml")]
    pub config: PathBuf,
    /// The daemon's address, instead of its socket.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// A file that holds the token for --server.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Go on showing what changes.
    #[arg(short, long)]
    pub watch: bool,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct History {
    /// The target's name.
    pub target: TargetName,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The target's name.
    pub target: TargetName,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// How far the fleet is, what it waits for, and how its targets stand.
    Status(FleetQuestion),
    /// The fleet's commits, newest first, and what became of each.
    History(FleetQuestion),
}

#[derive(Debug, Args)]
pub struct FleetQuestion {
    /// The fleet's name.
    pub fleet: FleetName,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only what was done to this fleet.
    #[arg(long, conflicts_with = "target")]
    pub fleet: Option<FleetName>,
    /// Only what was done to this target.
    #[arg(long)]
    pub target: Option<TargetName>,
    /// At most this many entries, the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub limit: u32,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Only this wave; default: everything of the fleet that waits.
    #[arg(long, value_name = "NAME")]
    pub wave: Option<WaveName>,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The fleet that is paused; without it, the emergency stop of everything ends.
    pub fleet: Option<FleetName>,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Accept {
    /// Only this fleet; default: every fleet of which a revision is held.
    pub fleet: Option<FleetName>,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Clone, Args)]
pub struct Why {
    /// Why; it is kept in the audit, and in the commit of a rollback.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Why {
    pub fn text(&self) -> String {
        self.reason.clone().unwrap_or_else(|| "no reason given".to_owned())
    }
}

#[derive(Debug, Args)]
pub struct FleetCommand {
    /// The fleet's name.
    pub fleet: FleetName,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct TargetCommand {
    /// The target's name.
    pub target: TargetName,
    /// Only for this fleet; default: all fleets that the target is in.
    #[arg(long)]
    pub fleet: Option<FleetName>,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Sync {
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The fleet's name.
    pub fleet: FleetName,
    /// The commit to go back to.
    #[arg(long, value_name = "REVISION")]
    pub to: String,
    /// Pin the fleet's profiles to that commit instead of restoring their folders.
    #[arg(long)]
    pub pin: bool,
    /// The branch to write; default: rollback/<fleet>-<commit>.
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The branch to start from.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub base: String,
    /// Push the branch to this remote, with the credentials of your Git.
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "origin")]
    pub push: Option<String>,
    /// Push the branch, and open a pull request at the forge of --config.
    #[arg(long)]
    pub open: bool,
    /// The daemon's settings, of which --open uses the repository and the forge.
    #[arg(long, value_name = "FILE", default_value = "fairlead.yaml")]
    pub config: PathBuf,
    /// A file that holds a token for --open; default: the credential of the settings.
    #[arg(long, value_name = "FILE", requires = "open")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub why: Why,
    #[command(flatten)]
    pub repo: Repo,
}

#[derive(Debug, Args)]
pub struct Webhook {
    /// The daemon's settings: its repository and its forge.
    #[arg(long, value_name = "FILE", default_value = "fairlead.yaml")]
    pub config: PathBuf,
    /// The address under which the forge reaches the daemon; default: the setting forge.link.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Create the webhook at the forge, or set the one with that address right.
    #[arg(long)]
    pub create: bool,
    /// A file that holds a token which may manage webhooks; default: the credential of the settings.
    #[arg(long, value_name = "FILE", requires = "create")]
    pub token_file: Option<PathBuf>,
    /// Print the secret itself instead of the file that holds it.
    #[arg(long, conflicts_with = "create")]
    pub reveal_secret: bool,
}

#[derive(Debug, Args)]
pub struct Sim {
    /// How many clusters: edge-001, edge-002 and so on.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clusters: u32,
    /// Where the kubeconfigs go, a file for each cluster; they are removed at the end.
    #[arg(long, value_name = "FOLDER", default_value = "kubeconfigs")]
    pub dir: PathBuf,
    /// The address on which all of them listen; port 0: any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Requests take between half of this and all of it longer: 20ms, 2s.
    #[arg(long, value_name = "DURATION")]
    pub latency: Option<Wait>,
    /// A file of faults; see the page on operations.
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// What is random (uids, and which requests a fault strikes) follows from it.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// From a workload's change until its pods are ready.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub ready_after: Wait,
    /// What to log, e.g. `info` or `fairlead=debug`.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

#[derive(Debug, Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Schema {
    /// Write the schemas into this folder instead of printing them.
    #[arg(long, value_name = "FOLDER")]
    pub write: Option<PathBuf>,
}
