//! What the supervisor writes down about each container, for the day nobody is left to ask.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::procfs;
use super::protocol::{Ended, Known};

/// A container as written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Identity, process, times, end.
    pub known: Known,
    /// Start time of the process in clock ticks since boot: with the number, it names a process for good.
    pub start_ticks: u64,
    /// The boot that numbers and ticks belong to.
    pub boot: String,
}

impl Record {
    /// Whether the process it names still is that process.
    pub fn is_alive(&self) -> bool {
        self.boot == procfs::boot_id()
            && procfs::stat(self.known.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks)
    }
}

fn folder(dir: &Path) -> PathBuf {
    dir.join("containers")
}

fn path(dir: &Path, id: &str) -> PathBuf {
    folder(dir).join(format!("{id}.json"))
}

/// Where the trampoline says why a program could not be started.
pub(crate) fn start_error_path(dir: &Path, id: &str) -> PathBuf {
    folder(dir).join(format!("{id}.start-error"))
}

pub(crate) fn write(dir: &Path, record: &Record) -> io::Result<()> {
    write_json(&path(dir, &record.known.id), record)
}

pub(crate) fn remove(dir: &Path, id: &str) {
    // What is not there need not be removed.
    drop(std::fs::remove_file(path(dir, id)));
    drop(std::fs::remove_file(start_error_path(dir, id)));
}

/// The recorded end of a container that no supervisor knows any more.
pub fn end_of(dir: &Path, id: &str) -> Option<Ended> {
    read_json::<Record>(&path(dir, id))?.known.ended
}

/// Whether a container has begun and not ended, as far as is written down.
pub(crate) fn is_open(dir: &Path, id: &str) -> bool {
    read_json::<Record>(&path(dir, id)).is_some_and(|record| record.known.ended.is_none())
}

/// All records of a state folder; unreadable ones are left out.
pub fn all(dir: &Path) -> Vec<Record> {
    let Ok(entries) = std::fs::read_dir(folder(dir)) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .filter_map(|path| read_json(&path))
        .collect()
}

/// Writes a value so that a reader sees the old or the new file, never a part.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(value)?)?;
    std::fs::rename(&fresh, path)
}

/// Reads a value; a file that is absent or unreadable is `None`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
