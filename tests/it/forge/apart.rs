//! The process that reads pull requests.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Result, wait_for};

/// Ends with the test, however that ends.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process may use no more of something than this.
fn is_limited(limits: &str, name: &str, most: [&str; 2]) -> bool {
    let rest = limits.lines().find_map(|line| line.strip_prefix(&format!("Max {name} ")));
    rest.is_some_and(|rest| rest.split_whitespace().take(2).eq(most))
}

#[tokio::test]
async fn threat_a_pull_request_is_read_with_little_memory_and_time_and_writes_no_file() -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    command.arg("check-pull").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut reader = Reader(command.spawn()?);
    let file = format!("/proc/{}/limits", reader.0.id());
    let wanted = [
        ("data size", ["536870912"; 2]),
        ("cpu time", ["60", "62"]),
        ("file size", ["0"; 2]),
        ("core file size", ["0"; 2]),
    ];
    wait_for("the limits", Duration::from_secs(20), async || {
        let limits = fs::read_to_string(&file)?;
        Ok(wanted.iter().all(|(name, most)| is_limited(&limits, name, *most)).then_some(()))
    })
    .await?;
    // No question is no answer.
    drop(reader.0.stdin.take());
    let mut answer = String::new();
    reader.0.stdout.take().unwrap().read_to_string(&mut answer)?;
    assert!(!reader.0.wait()?.success());
    assert_eq!(answer, "");
    Ok(())
}
