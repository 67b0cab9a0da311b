//! A server that we started, and that ends with us.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::tools::Program;
use super::{Context, Error, Result};

/// How much of a log is worth reading when something failed.
const TAIL: usize = 30;

/// Becomes a program that does not know our agreement on standard input, and leaves a child behind
/// that kills it when that ends.
const GUARD: &str = r#"
    exec 3<&0
    (cat <&3 >/dev/null; kill -9 "$$") &
    exec "$@" </dev/null 3<&-"#;

/// A running server. Dropping it kills it.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `<dir>/<name>.log`, appending.
    pub fn spawn(
        name: &'static str,
        program: &Program,
        args: impl IntoIterator<Item = OsString>,
        dir: &Path,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .context(format!("opening {}", log.display()))?;
        let errors = output.try_clone().context(format!("opening {}", log.display()))?;
        let child = command(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // A group of its own: Ctrl-C is for us to handle; signals reach what a guard guards;
            // and when we die, the kernel wakes a group that we had stopped, so that it can end.
            .process_group(0)
            .spawn()
            .context(format!("starting {}", program.path.display()))?;
        Ok(Self { name, child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of the log, if the process has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context(format!("looking after {}", self.name))? {
            None => Ok(()),
            Some(status) => Err(Error::new(format!("{} ended with {status}\n{}", self.name, self.tail()))),
        }
    }

    /// The last lines of the log, under a heading.
    pub fn tail(&self) -> String {
        let heading = format!("--- the end of {}", self.log.display());
        match fs::read(&self.log) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let lines: Vec<&str> = text.lines().collect();
                format!("{heading}\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"))
            }
            Err(error) => format!("{heading}: {error}"),
        }
    }

    /// Stops the process where it stands: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        let doing = format!("pausing {}", self.name);
        self.signal(Signal::STOP).context(&doing)?;
        // On a busy machine its threads may still answer something before they notice. This ends
        // when all have (or if it dies instead, which is left for others to find out).
        let noticed = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), noticed).context(&doing)?;
        Ok(())
    }

    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT).context(format!("resuming {}", self.name))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process_group(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Process {
    /// By force: an orderly end takes the API server a minute, and its port some seconds more.
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and that is fine.
        let _ = self.signal(Signal::KILL);
        if let Err(error) = self.child.wait() {
            eprintln!("waiting for the end of {}: {error}", self.name);
        }
    }
}

fn command(program: &Program) -> Command {
    let mut command;
    if program.ends_with_stdin {
        command = Command::new(&program.path);
        command.env("FAIRLEAD_HARNESS_STDIN", "1");
    } else {
        command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).arg(&program.path);
    }
    command
}
