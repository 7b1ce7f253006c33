//! The processes of one local Kthena, and what they cost together.
//!
//! A process belongs to it if its environment or its arguments name the state folder: those of the program and of the
//! supervisor do, and so do those of every container.

use std::fs;
use std::path::Path;

use crate::process::{TICK_MICROS, ticks};

/// What a set of processes uses now.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory in bytes; pages that several processes share count for each.
    pub(crate) resident: f64,
    /// Resident memory in bytes; a page that several processes share is split between them.
    pub(crate) proportional: f64,
    /// CPU time used so far, in microseconds.
    pub(crate) cpu_micros: f64,
}

/// Processes that name `folder`.
pub(crate) fn of(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| names(*pid, folder.as_os_str().as_encoded_bytes()))
        .collect()
}

/// What `pids` use together.
pub(crate) fn usage(pids: &[u32]) -> Usage {
    let mut sum = Usage::default();
    for &pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        sum.resident += bytes(&rollup, "Rss:");
        sum.proportional += bytes(&rollup, "Pss:");
        sum.cpu_micros += ticks(pid) * TICK_MICROS;
    }
    sum
}

fn names(pid: u32, folder: &[u8]) -> bool {
    ["environ", "cmdline"].iter().any(|file| {
        fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|text| text.windows(folder.len()).any(|window| window == folder))
    })
}

/// Reads a line such as `Rss:   123 kB`.
pub(crate) fn bytes(text: &str, field: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        * 1024.0
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn a_field_is_read_in_bytes_and_an_absent_one_is_nothing() {
        let text = "00400000-7fff rollup\nRss:     12 kB\nPss:      8 kB\nPss_Anon: 3 kB\n";
        let read = [
            bytes(text, "Rss:"),
            bytes(text, "Pss:"),
            bytes(text, "Swap:"),
        ];
        assert!((read[0] - 12288.0).abs() < 0.5);
        assert!((read[1] - 8192.0).abs() < 0.5);
        assert!(read[2].abs() < 0.5);
    }
}
