//! GPUs: how many the machine has, and which pod holds which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which pod holds which device, by index.
#[derive(Debug, Clone, Default)]
pub struct DevicePool {
    count: u32,
    held: BTreeMap<u32, String>,
}

impl DevicePool {
    /// `count` free devices.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            held: BTreeMap::new(),
        }
    }

    /// The devices in all.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Gives `uid` as many devices as it asks, lowest free indexes first; `None` and nothing taken if too few are free.
    pub fn take(&mut self, uid: &str, wanted: u32) -> Option<BTreeSet<u32>> {
        let free = (0..self.count).filter(|index| !self.held.contains_key(index));
        let given: BTreeSet<u32> = free.take(wanted as usize).collect();
        if given.len() < wanted as usize {
            return None;
        }
        self.held
            .extend(given.iter().map(|index| (*index, uid.to_owned())));
        Some(given)
    }

    /// Keeps devices that `uid` had before a restart.
    pub fn keep(&mut self, uid: &str, devices: &BTreeSet<u32>) {
        self.held
            .extend(devices.iter().map(|index| (*index, uid.to_owned())));
    }

    /// Takes back the devices of `uid`.
    pub fn release(&mut self, uid: &str) {
        self.held.retain(|_, holder| holder != uid);
    }
}

/// Counts the GPUs that the NVIDIA driver of this machine shows.
pub fn installed() -> u32 {
    let listed = std::fs::read_dir(Path::new("/proc/driver/nvidia/gpus"))
        .map_or(0, |entries| entries.flatten().count());
    u32::try_from(listed).unwrap_or(u32::MAX)
}

/// Splits a pod's devices over its containers in the order they are listed, as many to each as it asks.
pub fn split<'a>(
    devices: &BTreeSet<u32>,
    asks: impl IntoIterator<Item = (&'a str, u32)>,
) -> BTreeMap<&'a str, Vec<u32>> {
    let mut left = devices.iter().copied();
    asks.into_iter()
        .map(|(name, count)| (name, left.by_ref().take(count as usize).collect()))
        .collect()
}
