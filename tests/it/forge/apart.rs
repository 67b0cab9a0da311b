//! The process that reads pull requests.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test, however that ends.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn limits(of: &Child) -> String {
    fs::read_to_string(format!("/proc/{}/limits", of.id())).unwrap()
}

#[test]
fn threat_a_pull_request_is_read_with_little_memory_and_time_and_writes_no_file() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    command.arg("check-pull").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut reader = Reader(command.spawn().unwrap());
    let began = Instant::now();
    while !limits(&reader.0).contains("536870912") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", limits(&reader.0));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(100));
    let limits = limits(&reader.0);
    for (name, most) in
        [("data size", "536870912"), ("cpu time", "60"), ("file size", "0"), ("core file size", "0")]
    {
        let line =
            limits.lines().find(|line| line.to_lowercase().starts_with(&format!("max {name}"))).unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(1 + name.split(' ').count()).collect();
        assert_eq!(words[..2], [most, most], "{line}");
    }
    // No question is no answer.
    drop(reader.0.stdin.take());
    let mut answer = String::new();
    reader.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert!(!reader.0.wait().unwrap().success());
    assert_eq!(answer, "");
}
