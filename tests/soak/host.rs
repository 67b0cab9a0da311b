//! The daemon's process, its clock and its disk.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::daemon::Daemon;

/// The library that moves the clock.
const CLOCK: &str = include_str!("clock.c");

pub struct Host {
    pub daemon: Daemon,
    folder: TempDir,
    /// None: there is no C compiler, and clocks don't jump.
    clock: Option<PathBuf>,
    program: PathBuf,
    /// Seconds by which the daemon's clock is ahead.
    ahead: i64,
}

impl Host {
    pub fn new(repository: &Path, kubeconfigs: &Path, program: Option<PathBuf>) -> Self {
        // Trusted: the hostile cluster speaks plain HTTP.
        let clusters = format!("kubeconfigs: {{directory: {}, trusted: true}}", kubeconfigs.display());
        let daemon = Daemon::with("soak", repository, &clusters);
        let folder = tempfile::tempdir().unwrap();
        let clock = build_clock(folder.path());
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_fairlead").into());
        let host = Self { daemon, folder, clock, program, ahead: 0 };
        host.write_clock();
        host
    }

    pub fn start(&mut self) {
        // A write beyond the limit is to be an error, as on a full disk, not a signal.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(&self.program);
        if let Some(library) = &self.clock {
            command.env("LD_PRELOAD", library).env("FAIRLEAD_SOAK_CLOCK", self.clock_file());
        }
        self.daemon.launch(&mut command);
    }

    /// Whether its process ended by itself; how.
    pub fn ended(&mut self) -> Option<String> {
        let child = self.daemon.process()?;
        child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// The most memory that the process had so far (`VmHWM`), in MiB; 0 where that is not known.
    pub fn memory(&mut self) -> u64 {
        let Some(child) = self.daemon.process() else { return 0 };
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() / 1_024
    }

    pub fn can_jump(&self) -> bool {
        self.clock.is_some()
    }

    /// Moves the daemon's clock, but never further than `most` from the true one.
    pub fn jump(&mut self, seconds: i64, most: i64) {
        self.ahead = (self.ahead + seconds).clamp(-most, most);
        self.write_clock();
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    fn write_clock(&self) {
        // In place: the daemon has the file mapped.
        let file = File::options().create(true).truncate(false).write(true).open(self.clock_file()).unwrap();
        file.write_all_at(&self.ahead.to_ne_bytes(), 0).unwrap();
    }

    /// No file of the daemon grows, or may be written to, from now on; or again.
    pub fn fill_disk(&mut self, full: bool) {
        let Some(child) = self.daemon.process() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let limit = Rlimit { current: full.then_some(0), maximum: None };
        let _ = prlimit(pid, Resource::Fsize, limit);
    }

    pub fn status(&self) -> Result<Value, String> {
        match self.daemon.ask("GET", "/api/v1/status", None)? {
            (200, status) => Ok(status),
            (code, answer) => Err(format!("{code}: {answer}")),
        }
    }

    /// Tells the daemon something, as often as it takes until it answers.
    pub fn tell(&mut self, path: &str) -> Result<(), String> {
        let body = json!({"reason": "the marathon"});
        let mut last = String::new();
        for _ in 0..400 {
            match self.daemon.ask("POST", &format!("/api/v1/{path}"), Some(&body)) {
                Ok((200..300, _)) => return Ok(()),
                Ok((503 | 504, answer)) => last = answer.to_string(),
                Ok((code, answer)) => return Err(format!("{path}: {code}: {answer}")),
                Err(error) => last = error,
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        Err(format!("{path}: {last}"))
    }

    pub fn lose_store(&self) {
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            let _ = fs::remove_file(self.daemon.state().join(name));
        }
    }

    /// Cuts the largest pack or object of the mirror in half.
    pub fn damage_mirror(&self) -> bool {
        let mut files = Vec::new();
        walk(&self.daemon.state().join("mirror.git/objects"), &mut files);
        let Some((size, path)) = files.into_iter().max() else { return false };
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        File::options().write(true).open(path).unwrap().set_len(size / 2).unwrap();
        true
    }
}

fn walk(folder: &Path, files: &mut Vec<(u64, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_none_or(|kind| kind == "pack") {
            files.push((entry.metadata().map_or(0, |data| data.len()), path));
        }
    }
}

fn build_clock(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let built = compile.status().is_ok_and(|status| status.success());
    if !built {
        eprintln!("there is no C compiler: the daemon's clock does not jump");
    }
    built.then_some(library)
}
