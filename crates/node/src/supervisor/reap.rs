//! Kills everything a state folder has ever started and that still runs, without asking any agent or supervisor.
//!
//! A process is killed only if it is surely ours: its environment names the folder; or it is the recorded process
//! of a container, of the same boot and start time; or it belongs to the process group of such a record whose
//! leader is that very process or is gone (a group keeps its number reserved for as long as it has a member).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::procfs::{self, Stat};
use super::record::{self, Record};
use super::{ENV_COMMAND, ENV_NODE_DIR, LOCK};
use crate::agent::netns;

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills all processes of `dir`, the supervisor first, and forgets their records and their networks. Returns how many were killed.
///
/// Blocks until they are gone. An agent that still runs on the folder would start them again: stop it first.
pub fn reap(dir: &Path) -> usize {
    let killed = kill_all(dir);
    for record in record::all(dir) {
        record::remove(dir, &record.known.id);
    }
    netns::remove_all(&dir.canonicalize().unwrap_or_else(|_| dir.to_owned()));
    killed
}

/// The same, but keeps the records for an agent that wants to know how its containers ended.
pub(crate) fn kill_all(dir: &Path) -> usize {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mut killed = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let found = ours(&dir);
        if found.is_empty() || Instant::now() >= until {
            return killed.len();
        }
        for stat in &found {
            if let Some(pid) = Pid::from_raw(stat.pid) {
                // One that ended meanwhile is what we want.
                let _ = kill_process(pid, Signal::KILL);
                killed.insert((stat.pid, stat.start_ticks));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills the probes and hooks that an agent was running when it was killed. Returns how many were killed.
pub(crate) fn kill_commands(dir: &Path) -> usize {
    let found = ours(dir);
    let commands = found
        .iter()
        .filter(|stat| procfs::env(stat.pid, ENV_COMMAND).is_some());
    let killed =
        commands.filter_map(|stat| kill_process(Pid::from_raw(stat.pid)?, Signal::KILL).ok());
    killed.count()
}

/// The live processes of `dir`.
pub fn ours(dir: &Path) -> Vec<Stat> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let boot = procfs::boot_id();
    let records: Vec<Record> = record::all(dir)
        .into_iter()
        .filter(|record| record.boot == boot)
        .collect();
    let all = procfs::all();
    let supervisor = holder_of(&dir.join(LOCK));
    all.iter()
        .filter(|stat| stat.pid != own && !stat.zombie)
        .filter(|stat| {
            Some(stat.pid) == supervisor
                || records.iter().any(|record| belongs(stat, record, &all))
                || procfs::env(stat.pid, ENV_NODE_DIR)
                    .is_some_and(|home| *home == *dir.to_string_lossy())
        })
        .copied()
        .collect()
}

/// Whether `stat` is a process of the recorded container or of its group.
pub(crate) fn belongs(stat: &Stat, record: &Record, all: &[Stat]) -> bool {
    let leader = record.known.pid;
    let holder = all.iter().find(|other| other.pid == leader);
    let group_is_ours = holder.is_none_or(|holder| holder.start_ticks == record.start_ticks);
    let same = stat.pid == leader && stat.start_ticks == record.start_ticks;
    same || (group_is_ours && stat.group == leader && stat.start_ticks >= record.start_ticks)
}

/// The process that holds a lock on the file, read from the kernel's list of locks.
fn holder_of(path: &Path) -> Option<i32> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(path).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let held = fields.get(1) == Some(&"FLOCK")
            && fields.get(5)?.rsplit(':').next() == Some(&inode.to_string());
        held.then(|| fields.get(4)?.parse().ok()).flatten()
    })
}
