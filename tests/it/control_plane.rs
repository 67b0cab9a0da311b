//! The harness itself: what other tests take for granted.

use std::path::PathBuf;

use crate::harness::{ControlPlane, Options, Result};

#[tokio::test]
async fn nothing_is_left_of_a_control_plane_that_was_dropped() -> Result<()> {
    let plane = ControlPlane::start("dropped", Options::default()).await?;
    let folder = plane.folder().to_owned();
    let processes: Vec<PathBuf> =
        plane.pids().iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
    assert!(processes.iter().all(|process| process.exists()), "{processes:?}");

    drop(plane);

    assert!(processes.iter().all(|process| !process.exists()), "{processes:?}");
    assert!(!folder.exists(), "{}", folder.display());
    Ok(())
}
