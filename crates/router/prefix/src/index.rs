//! Which pod was sent which beginnings of prompts.
//!
//! A query locks one shard of the hash table at a time, for reading. A record locks the pod it is about, and shards
//! one at a time while it holds that lock; no path takes the locks the other way round.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::lru::{Evicted, Lru};
use crate::owners::Owners;

/// Bytes an entry costs at the worst moment of its tables' growth: its list node, its places in the pod's table and in
/// the table of all hashes. A test compares it with what is really allocated.
const ENTRY_BYTES: usize = 168;

/// How much an index may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexConfig {
    /// Most blocks of one pod.
    pub per_pod: NonZeroUsize,
    /// Most bytes in all. Pods share them evenly.
    pub budget_bytes: usize,
    /// Makes it unpredictable which hashes meet in the tables; otherwise without effect.
    pub seed: u64,
}

/// Says when a pod's life is over, so that nothing about it need be remembered.
pub trait Life: Send + Sync {
    /// Whether the pod has left the router's table. Does not turn back.
    fn is_over(&self) -> bool;

    /// How many blocks of it are worth remembering, if that is known to be less than may be.
    fn room(&self) -> Option<usize> {
        None
    }
}

/// Evictions of one model's blocks since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEvictions {
    /// The client's name of the model.
    pub model: Arc<str>,
    /// Entries dropped for want of room.
    pub count: u64,
}

/// What one request recorded, in case it is to be taken back.
pub struct Recorded {
    pod: Arc<Pod>,
    id: u32,
    stamp: u32,
    /// The keys that the pod did not have before.
    fresh: Vec<u64>,
}

/// The index. All methods may be called from any thread.
pub struct PrefixIndex {
    config: IndexConfig,
    owners: Owners,
    pods: RwLock<HashMap<u32, Arc<Pod>>>,
    models: RwLock<Models>,
    entries: AtomicUsize,
    stamp: AtomicU32,
    trimming: Mutex<()>,
}

struct Pod {
    life: Box<dyn Life>,
    blocks: Mutex<Blocks>,
}

#[derive(Default)]
struct Blocks {
    lru: Lru,
    /// The pod was forgotten; whoever still holds it must not record.
    closed: bool,
}

#[derive(Default)]
struct Models {
    by_name: HashMap<Arc<str>, u32>,
    evictions: Vec<(Arc<str>, AtomicU64)>,
}

impl PrefixIndex {
    /// An empty index.
    pub fn new(config: IndexConfig) -> Self {
        Self {
            config,
            owners: Owners::default(),
            pods: RwLock::default(),
            models: RwLock::default(),
            entries: AtomicUsize::new(0),
            stamp: AtomicU32::new(0),
            trimming: Mutex::default(),
        }
    }

    /// Writes into `lengths` how many leading blocks of `chain` each candidate has. `position_of` gives the place of a
    /// pod's number in `lengths`. The order of use does not change.
    pub fn find(
        &self,
        root: u64,
        chain: &[u64],
        mut position_of: impl FnMut(u32) -> Option<usize>,
        lengths: &mut [u32],
    ) {
        // Pods that have a block have all before it. So where two blocks have equally many, the same pods have them,
        // and those between need not be looked at.
        let mut probe = |level: u32| {
            let hash = chain[level as usize - 1];
            self.owners.visit(self.key(root, hash), |pod| {
                let length = position_of(pod).and_then(|at| lengths.get_mut(at));
                if let Some(length) = length {
                    *length = level.max(*length);
                }
            })
        };
        let whole = u32::try_from(chain.len()).unwrap_or(u32::MAX);
        if whole == 0 {
            return;
        }
        let first = probe(1);
        if first == 0 || whole == 1 {
            return;
        }
        narrow((1, first), (whole, probe(whole)), &mut probe);
    }

    /// Notes that `pod` was sent a prompt with these hashes. `None` if there is nothing to note or the pod's life is
    /// over; `life` tells of that and is asked for when the pod is new.
    pub fn record(
        &self,
        model: &str,
        root: u64,
        chain: &[u64],
        pod: u32,
        life: impl FnOnce() -> Box<dyn Life>,
    ) -> Option<Recorded> {
        if chain.is_empty() {
            return None;
        }
        let number = self.model(model);
        let known = self.pod(pod, life);
        let stamp = self.stamp.fetch_add(1, Ordering::Relaxed);
        let mut fresh = Vec::new();
        {
            let mut blocks = known.lock();
            if blocks.closed || known.life.is_over() {
                return None;
            }
            // The first block comes last, so that it is evicted last.
            for hash in chain.iter().rev() {
                let key = self.key(root, *hash);
                if blocks.lru.touch(key, number, stamp) {
                    self.owners.add(key, pod);
                    fresh.push(key);
                }
            }
            self.entries.fetch_add(fresh.len(), Ordering::Relaxed);
            self.evict_to(known.room(self.share()), &mut blocks, pod);
        }
        if self.entries() > self.budget() {
            self.trim();
        }
        Some(Recorded {
            pod: known,
            id: pod,
            stamp,
            fresh,
        })
    }

    /// Takes back what a request recorded, except for what others used since.
    pub fn undo(&self, recorded: &Recorded) {
        let mut blocks = recorded.pod.lock();
        for key in &recorded.fresh {
            if blocks.lru.take_back(*key, recorded.stamp) {
                self.owners.remove(*key, recorded.id);
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets pods whose life is over, and brings the others back to their share of the budget.
    pub fn sweep(&self) {
        let over: Vec<(u32, Arc<Pod>)> = {
            let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
            let over = pods.iter().filter(|(_, pod)| pod.life.is_over());
            over.map(|(id, pod)| (*id, Arc::clone(pod))).collect()
        };
        for (id, pod) in over {
            self.forget(id, &pod);
        }
        if self.entries() > self.budget() {
            self.trim();
        }
    }

    /// Pairs of a pod and a block.
    pub fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes the entries cost at most.
    pub fn bytes(&self) -> usize {
        self.entries() * ENTRY_BYTES
    }

    /// Entries dropped for want of room since the start, by model. Models without any are left out.
    pub fn evictions(&self) -> Vec<ModelEvictions> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models
            .evictions
            .iter()
            .map(|(model, count)| ModelEvictions {
                model: Arc::clone(model),
                count: count.load(Ordering::Relaxed),
            })
            .filter(|model| model.count > 0)
            .collect()
    }

    /// Where a hash stands in the tables. Equal hashes of two models stand apart.
    fn key(&self, root: u64, hash: u64) -> u64 {
        let mixed = (hash ^ root.rotate_left(32)).wrapping_mul(self.config.seed | 1);
        mixed ^ (mixed >> 29)
    }

    fn budget(&self) -> usize {
        self.config.budget_bytes / ENTRY_BYTES
    }

    /// Blocks that each pod may have now.
    fn share(&self) -> usize {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        let even = self.budget() / pods.len().max(1);
        even.min(self.config.per_pod.get())
    }

    fn pod(&self, id: u32, life: impl FnOnce() -> Box<dyn Life>) -> Arc<Pod> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = pods.get(&id) {
            return Arc::clone(pod);
        }
        drop(pods);
        let fresh = Pod {
            life: life(),
            blocks: Mutex::default(),
        };
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pods.entry(id).or_insert_with(|| Arc::new(fresh)))
    }

    fn model(&self, name: &str) -> u32 {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = models.by_name.get(name) {
            return *number;
        }
        drop(models);
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = models.by_name.get(name) {
            return *number;
        }
        let number = u32::try_from(models.evictions.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        models
            .evictions
            .push((Arc::clone(&name), AtomicU64::new(0)));
        models.by_name.insert(name, number);
        number
    }

    fn evict_to(&self, share: usize, blocks: &mut Blocks, pod: u32) {
        while blocks.lru.len() > share {
            let Some(Evicted { key, model }) = blocks.lru.evict() else {
                return;
            };
            self.owners.remove(key, pod);
            self.entries.fetch_sub(1, Ordering::Relaxed);
            let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, count)) = models.evictions.get(model as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Brings every pod to its share, which shrinks as pods come. One thread at a time is enough.
    fn trim(&self) {
        let Ok(_only) = self.trimming.try_lock() else {
            return;
        };
        let share = self.share();
        let all: Vec<(u32, Arc<Pod>)> = {
            let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
            pods.iter()
                .map(|(id, pod)| (*id, Arc::clone(pod)))
                .collect()
        };
        for (id, pod) in all {
            self.evict_to(pod.room(share), &mut pod.lock(), id);
        }
    }

    fn forget(&self, id: u32, pod: &Pod) {
        self.pods
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        let lru = {
            let mut blocks = pod.lock();
            blocks.closed = true;
            std::mem::take(&mut blocks.lru)
        };
        for key in lru.keys() {
            self.owners.remove(key, id);
        }
        self.entries.fetch_sub(lru.len(), Ordering::Relaxed);
    }
}

impl Pod {
    fn room(&self, share: usize) -> usize {
        self.life.room().map_or(share, |room| room.min(share))
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PrefixIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixIndex")
            .field("config", &self.config)
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// Probes between two levels, each given with how many pods have it, until nothing unknown is left.
fn narrow(low: (u32, usize), high: (u32, usize), probe: &mut impl FnMut(u32) -> usize) {
    if high.0 - low.0 < 2 || low.1 == high.1 {
        return;
    }
    let middle = low.0 + (high.0 - low.0) / 2;
    let middle = (middle, probe(middle));
    narrow(low, middle, probe);
    narrow(middle, high, probe);
}

#[cfg(test)]
mod tests;
