//! Metrics of this process, from `/proc`. Where there is no `/proc`, they are left out.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in `/proc`: a constant of Linux's interface (`USER_HZ`), whatever the kernel's own rate.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector;

struct Process {
    resident_bytes: f64,
    cpu_seconds: f64,
    open_files: f64,
    start_seconds: f64,
}

fn read() -> Option<Process> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted after the command's name, which may hold spaces and parentheses; see proc(5).
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let open_files = u32::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    Some(Process {
        resident_bytes: resident.trim().parse::<f64>().ok()? * 1024.0,
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        open_files: f64::from(open_files),
        start_seconds: boot + field(22)? / TICKS,
    })
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(process) = read() else { return Ok(()) };
        let cpu = ConstCounter::new(process.cpu_seconds);
        let name = "process_cpu_seconds";
        let help = "Time spent on the CPU";
        cpu.encode(encoder.encode_descriptor(name, help, None, cpu.metric_type())?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", process.resident_bytes),
            ("process_open_fds", "Open files", process.open_files),
            ("process_start_time_seconds", "When the process began", process.start_seconds),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
