//! The node's own files about a pod: `pods/<uid>/record.json`, its volumes and its logs.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::memory::PodMemory;
use crate::plan::status::container_id;
use crate::supervisor::record::{read_json, write_json};

/// What must survive a restart of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodRecord {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) address: Ipv4Addr,
    #[serde(default)]
    pub(crate) devices: BTreeSet<u32>,
    #[serde(default)]
    pub(crate) memory: PodMemory,
}

impl PodRecord {
    pub(crate) fn save(&self, state_dir: &Path) -> io::Result<()> {
        write_json(&PodFolder::new(state_dir, &self.uid).record(), self)
    }

    /// The containers of which a process may exist.
    pub(crate) fn live(&self) -> Vec<String> {
        let all = self.memory.containers.iter();
        all.filter(|(_, memory)| memory.is_live())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The identity of the present life of a container.
    pub(crate) fn id_of(&self, container: &str) -> String {
        container_id(
            &self.uid,
            container,
            self.memory.container(container).attempt,
        )
    }
}

/// The records of all pods the node has taken on.
pub(crate) fn records(state_dir: &Path) -> Vec<PodRecord> {
    let Ok(entries) = std::fs::read_dir(state_dir.join("pods")) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| read_json(&entry.path().join("record.json")))
        .collect()
}

/// The folder of one pod.
#[derive(Debug, Clone)]
pub(crate) struct PodFolder(PathBuf);

impl PodFolder {
    pub(crate) fn new(state_dir: &Path, uid: &str) -> Self {
        Self(state_dir.join("pods").join(uid))
    }

    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes").join(name)
    }

    /// The folder a container starts in when it names none.
    pub(crate) fn work(&self, container: &str) -> PathBuf {
        self.0.join("work").join(container)
    }

    pub(crate) fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.0
            .join("logs")
            .join(container)
            .join(format!("{attempt}.log"))
    }

    /// Removes everything about the pod.
    pub(crate) fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove the folder of a pod");
        }
    }
}
