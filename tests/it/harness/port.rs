//! Ports that stay ours: a control plane's API server stops and comes back on the same one.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use super::{Context, Error, Result};

/// Below the range from which Linux takes the ports of outgoing connections (32768 and up): one of
/// those could sit on ours while the server is stopped. And below that of Cluster API's in-memory
/// provider (20000 to 30000).
const RANGE: Range<u16> = 10_000..20_000;

/// A port that no other harness uses, in this process or another, while this value lives.
pub struct Port {
    number: u16,
    /// The kernel's lock on it ends with the process, so a killed test keeps no port.
    _lease: File,
}

impl Port {
    pub fn lease() -> Result<Self> {
        let leases = std::env::temp_dir().join("fairlead-test-ports");
        fs::create_dir_all(&leases).context(format!("creating {}", leases.display()))?;
        // Test processes that start together should not walk over the same ports.
        let start = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
        let size = RANGE.end - RANGE.start;
        for step in 0..size {
            let number = RANGE.start + (start + step) % size;
            let path = leases.join(number.to_string());
            let lease = File::create(&path).context(format!("creating {}", path.display()))?;
            if lease.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lease: lease });
            }
        }
        Err(Error::new(format!("no port is free in {RANGE:?}")))
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}
