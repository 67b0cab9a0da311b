//! Reading a pull request in a process of its own.
//!
//! What is in it may be a stranger's, and everything in it is read: documents, expressions, patterns. All of that is
//! bounded by itself; but should a bound fail, it is this process that ends, not the daemon. It has no credentials (no
//! environment, and the mirror needs none), writes no file, and may use so much memory and time and no more.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::daemon::library::Library;
use crate::daemon::plans::{self, PlanError};
use crate::repo::History;
use fairlead_core::catalog::Folders;
use fairlead_core::model::diagnostic::{Diagnostic, Place};
use fairlead_core::model::digest::CommitId;
use fairlead_core::plan::offline::comment::{comment, without_plan};
use fairlead_core::plan::offline::print::plain;
use fairlead_core::release::LayerCache;

/// The command that answers; people have no use for it.
pub const COMMAND: &str = "check-pull";
/// Bytes of memory of its own: a change of 5,000 clusters of the demo takes a quarter.
const MEMORY: u64 = 512 << 20;
/// Processor time that it may use, in all.
pub(super) const TIME: Duration = Duration::from_secs(60);
/// What a first look may use: what needs longer gets its time when all others had theirs.
pub(super) const FIRST_TIME: Duration = Duration::from_secs(12);
/// How often as long as its processor time it may take: the machine may be busy with better things.
const WALL: u32 = 3;
/// Longest answer, in bytes: a plan of every object of 5,000 clusters, grouped, has a few.
const ANSWER: u64 = 64 << 20;

/// What to read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    /// Processor time that answering may use.
    pub seconds: u64,
    /// A bare repository that has both.
    pub mirror: PathBuf,
    pub folders: Folders,
    pub branch: CommitId,
    pub head: CommitId,
    /// Characters of the comment.
    pub room: usize,
    /// What shows all of it.
    pub page: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub findings: Vec<Diagnostic>,
    /// None: see `no_plan`.
    pub plan: Option<serde_json::Value>,
    pub no_plan: Option<String>,
    /// The plan for people.
    pub text: String,
    pub comment: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Something else than the head is to blame: it is tried again.
    Elsewhere(String),
    /// The head takes more processor time than it may: a result, too.
    TooLong(String),
    /// The process ended, or was not heard of: the head may take more memory than it may, or the machine has none left.
    /// A result, too, if it is so again and again.
    Broke(String),
}

impl Answer {
    /// What is said of a head that can't be checked within its limits.
    pub(super) fn not_checked(reason: &str, head: CommitId) -> Self {
        let place = Place::file("");
        let finding = Diagnostic::error(place, "over-limit", format!("the head was not checked: {reason}"));
        Self {
            comment: format!(
                "**Not checked**: {}.\n\nThis head is not looked at again; a new one is.\n{}\n",
                reason,
                given_up(head)
            ),
            text: String::new(),
            plan: None,
            no_plan: Some(reason.to_owned()),
            findings: vec![finding],
        }
    }
}

/// What a comment holds that says so of a head: after a restart it is known by it.
pub(super) fn given_up(head: CommitId) -> String {
    format!("<!-- fairlead: gave up on {head} -->")
}

/// Lets another process of this program answer, within a time.
///
/// # Errors
/// For people: what it could not read, or how it ended.
pub(super) fn ask(question: &Question, time: Duration) -> Result<Answer, Failed> {
    let elsewhere = |error: String| Failed::Elsewhere(error);
    let program = this_program().map_err(|error| elsewhere(format!("this program is not found: {error}")))?;
    let question = serde_json::to_vec(question).map_err(|error| elsewhere(error.to_string()))?;
    let answer = run(&program, &question, time, time * WALL)?;
    serde_json::from_slice::<Result<Answer, String>>(&answer)
        .map_err(|error| elsewhere(error.to_string()))?
        .map_err(elsewhere)
}

/// On Linux also when its file was replaced by a newer one meanwhile.
fn this_program() -> std::io::Result<PathBuf> {
    let itself = PathBuf::from("/proc/self/exe");
    if itself.exists() { Ok(itself) } else { std::env::current_exe() }
}

/// What a program writes when it is given a text, within a time; `time` is what it was told to use of the processor.
fn run(program: &Path, input: &[u8], time: Duration, wall: Duration) -> Result<Vec<u8>, Failed> {
    let failed =
        |error: std::io::Error| Failed::Elsewhere(format!("the check could not be started: {error}"));
    let mut command = Command::new(program);
    command.arg(COMMAND).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(ANSWER).read_to_end(&mut bytes));
        // Nobody listens any more where it took too long.
        let _ = sender.send(read.map(|_| bytes));
    });
    // One that has ended already says so by how it ended.
    let _ = stdin.map(|mut stdin| stdin.write_all(input));
    let deadline = Instant::now() + wall;
    let read = receiver.recv_timeout(wall);
    let status = end(&mut child, deadline);
    let cpu_limit = Some(rustix::process::Signal::XCPU.as_raw());
    match (read, status) {
        (Ok(Ok(bytes)), Some(status)) if status.success() => Ok(bytes),
        (Ok(_), Some(status)) if status.signal() == cpu_limit => {
            Err(Failed::TooLong(format!("the check took more than {} s of processor time", time.as_secs())))
        }
        (Ok(_), Some(status)) => Err(Failed::Broke(format!(
            "the check {}; it may use {} MiB of memory and {} s",
            ended(status),
            MEMORY >> 20,
            time.as_secs()
        ))),
        _ => Err(Failed::Broke(format!("the check took longer than {} s", wall.as_secs()))),
    }
}

/// Waits for the end, and brings it about when the time is over.
fn end(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                // What has ended meanwhile can't be ended, and that is as good.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("ended with {}", status.code().unwrap_or(-1)),
    }
}

/// The other side: answers the question on standard input on standard output.
///
/// # Errors
/// The question can't be read, or the answer not be written.
pub fn answer() -> Result<(), String> {
    confine().map_err(|error| format!("no limits could be set: {error}"))?;
    let question: Question =
        serde_json::from_reader(std::io::stdin().lock()).map_err(|error| error.to_string())?;
    limit_processor(Duration::from_secs(question.seconds.min(TIME.as_secs())))
        .map_err(|error| format!("no limits could be set: {error}"))?;
    let found = look(&question).map_err(|error| crate::daemon::chain(&error));
    serde_json::to_writer(std::io::stdout().lock(), &found).map_err(|error| error.to_string())
}

/// From here on there is no more than is needed for reading.
fn confine() -> rustix::io::Result<()> {
    let most = |limit: u64| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::Data, most(MEMORY))?;
    limit_processor(TIME)?;
    setrlimit(Resource::Fsize, most(0))?;
    setrlimit(Resource::Core, most(0))?;
    // The clusters come first.
    rustix::process::nice(10)?;
    // Whoever asked may be gone before the answer.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// The signal of the lower limit says that it was this one; that of the upper could be anybody's.
fn limit_processor(time: Duration) -> rustix::io::Result<()> {
    let limit = Rlimit { current: Some(time.as_secs()), maximum: Some(TIME.as_secs() + 2) };
    setrlimit(Resource::Cpu, limit)
}

fn look(question: &Question) -> Result<Answer, PlanError> {
    let history = History::discover(&question.mirror)?;
    let base = history.merge_base(question.branch, question.head)?;
    let library = Arc::new(Library::new(Some(history), question.folders.clone(), LayerCache::default()));
    let findings = plans::findings(&library, question.head)?;
    let plan = match base {
        Some(base) => plans::between(&library, base, question.head).map_err(|error| error.to_string()),
        None => Err("it has no commit in common with the branch".to_owned()),
    };
    let ways = plans::ways(plans::read(&library, question.head)?);
    let (room, page) = (question.room, question.page.as_deref());
    Ok(match plan {
        Ok(plan) => Answer {
            comment: comment(&plan, &findings, &ways, room, page),
            text: plain(&plan),
            plan: Some(serde_json::to_value(&plan).map_err(|error| PlanError::Unknown(error.to_string()))?),
            no_plan: None,
            findings,
        },
        Err(reason) => Answer {
            comment: without_plan(&reason, &findings, room, page),
            text: String::new(),
            plan: None,
            no_plan: Some(reason),
            findings,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn run_script(script: &str, seconds: u64) -> Result<Vec<u8>, Failed> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let time = Duration::from_secs(seconds);
        run(&path, b"the question", time, time)
    }

    #[test]
    fn what_a_check_does_it_does_to_itself() {
        assert_eq!(run_script("cat", 10), Ok(b"the question".to_vec()));
        let Failed::Broke(error) = run_script("kill -9 $$", 10).unwrap_err() else { panic!("not its own") };
        assert!(error.contains("was ended by signal 9") && error.contains("512 MiB"), "{error}");
        assert!(matches!(run_script("exit 3", 10), Err(Failed::Broke(why)) if why.contains("ended with 3")));
        let began = Instant::now();
        assert_eq!(
            run_script("kill -XCPU $$", 10),
            Err(Failed::TooLong("the check took more than 10 s of processor time".to_owned()))
        );
        let too_long = || Err(Failed::Broke("the check took longer than 1 s".to_owned()));
        assert_eq!(run_script("exec sleep 60", 1), too_long());
        assert_eq!(run_script("exec >&-; exec sleep 60", 1), too_long(), "one that says it has answered");
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(
            run_script("env", 10).map(|text| String::from_utf8_lossy(&text).contains("HOME")),
            Ok(false)
        );
    }
}
