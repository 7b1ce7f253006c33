//! From a hash to the pods that have it, in shards that are locked one at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock};

use smallvec::SmallVec;

/// Shards; a power of two.
const SHARDS: usize = 64;

/// A map whose keys are hashes already.
pub(crate) type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<AsIs>>;

/// Takes the key itself for its hash.
#[derive(Default)]
pub(crate) struct AsIs(u64);

/// Pods by key, in no order.
#[derive(Debug)]
pub(crate) struct Owners {
    shards: Vec<RwLock<KeyMap<Pods>>>,
}

type Pods = SmallVec<[u32; 2]>;

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }
}

impl Owners {
    /// Calls `visit` with every pod that has `key`; returns how many there are.
    pub(crate) fn visit(&self, key: u64, mut visit: impl FnMut(u32)) -> usize {
        let shard = self.shard(key);
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let Some(pods) = shard.get(&key) else {
            return 0;
        };
        for pod in pods {
            visit(*pod);
        }
        pods.len()
    }

    /// Notes that `pod`, which did not have it, has `key`.
    pub(crate) fn add(&self, key: u64, pod: u32) {
        let shard = self.shard(key);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.entry(key).or_default().push(pod);
    }

    /// Notes that `pod` no longer has `key`.
    pub(crate) fn remove(&self, key: u64, pod: u32) {
        let shard = self.shard(key);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut entry) = shard.entry(key) else {
            return;
        };
        let pods = entry.get_mut();
        if let Some(at) = pods.iter().position(|other| *other == pod) {
            pods.swap_remove(at);
        }
        if pods.is_empty() {
            entry.remove();
        }
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap().len())
            .sum()
    }

    /// Bytes of the tables and of the lists that outgrew them.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let bucket = size_of::<(u64, Pods)>() + 1;
        let of_shard = |shard: &KeyMap<Pods>| {
            let spilled = shard.values().filter(|pods| pods.spilled());
            let lists: usize = spilled.map(|pods| pods.capacity() * size_of::<u32>()).sum();
            shard.capacity() * 8 / 7 * bucket + lists
        };
        let shards = self.shards.iter();
        shards.map(|shard| of_shard(&shard.read().unwrap())).sum()
    }

    fn shard(&self, key: u64) -> &RwLock<KeyMap<Pods>> {
        // The map itself uses the lowest and the highest bits.
        let at = usize::try_from((key >> 40) & (SHARDS as u64 - 1)).unwrap_or_default();
        &self.shards[at]
    }
}
