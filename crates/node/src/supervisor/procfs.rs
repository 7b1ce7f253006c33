//! The few facts the node reads from `/proc`.

use std::path::Path;

/// What identifies a process and ties it to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Process number.
    pub pid: i32,
    /// Parent.
    pub parent: i32,
    /// Process group.
    pub group: i32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// It has ended and waits to be collected.
    pub zombie: bool,
}

/// The process of that number, if there is one.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(
        pid,
        &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?,
    )
}

/// Reads a line of `/proc/<pid>/stat`; the program name in it may hold spaces and parentheses.
pub fn parse_stat(pid: i32, line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line
        .get(line.rfind(')')? + 1..)?
        .split_ascii_whitespace()
        .collect();
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
    })
}

/// All processes.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| stat(name.to_str()?.parse().ok()?))
        .collect()
}

/// The value of a variable in the environment that the process was started with, unless it has overwritten it.
pub fn env(pid: i32, name: &str) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environ
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok());
    entries.find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// A text that differs from boot to boot.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// How many processes the kernel has killed for want of memory since boot.
pub fn out_of_memory_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// Whether a `/proc` of Linux is there at all.
pub fn is_there() -> bool {
    Path::new("/proc/self/stat").exists()
}
