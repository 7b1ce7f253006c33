//! Figures of the process itself, read from `/proc` when somebody asks. Elsewhere than on Linux there are none.

use std::fmt::Write;
use std::fs;

/// Clock ticks per second of `/proc/<pid>/stat`; the kernel's interface fixes it at 100 on all common machines.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// Appends the `process_*` families to `out`.
pub(crate) fn write(out: &mut String) {
    let Some(stat) = fs::read_to_string("/proc/self/stat").ok() else {
        return;
    };
    // The program's name is in brackets and may hold anything, so fields are counted from the last bracket.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let field = |number: usize| {
        fields
            .get(number - 3)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks of a process stay far below 2^52"
    )]
    let cpu = (field(14) + field(15)) as f64 / TICKS;
    gauge(
        out,
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time in seconds.",
        cpu,
    );
    #[expect(clippy::cast_precision_loss, reason = "memory sizes stay below 2^52")]
    let bytes = |count: u64| count as f64;
    gauge(
        out,
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory in bytes.",
        bytes(field(23)),
    );
    gauge(
        out,
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory in bytes.",
        bytes(field(24) * PAGE),
    );
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge(
            out,
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            bytes(open.count() as u64),
        );
    }
    if let Some(limit) = descriptor_limit() {
        gauge(
            out,
            "process_max_fds",
            "gauge",
            "Limit of open file descriptors.",
            bytes(limit),
        );
    }
    if let Some(boot) = boot_seconds() {
        #[expect(
            clippy::cast_precision_loss,
            reason = "ticks since boot stay far below 2^52"
        )]
        let started = bytes(boot) + field(22) as f64 / TICKS;
        gauge(
            out,
            "process_start_time_seconds",
            "gauge",
            "Start of the process, Unix time.",
            started,
        );
    }
}

fn gauge(out: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    let _ = writeln!(
        out,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}

fn descriptor_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn boot_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}
