//! Which blocks which engine holds, exactly, in memory.
//!
//! Blocks are known by the tokens they hold and all tokens before them, so equal blocks elsewhere in a prompt are no
//! hits. One writer per engine (and rank) applies its events through an [`Owner`]; any number of readers ask how much
//! of a prompt each pod holds.
//!
//! # Invariants
//!
//! - A pod is credited with a block only between the event that announced it and the one that took it back. On which
//!   tier of the engine it is does not matter: to bring it back from memory takes a small part of what computing it
//!   takes, and engines count both as cached.
//! - What an owner announced is forgotten when it is [reset](Owner::reset) or drops, at the latest.
//! - The bytes of all tables stay within the budget: what does not fit is not taken in, and counted.
//! - A reader holds one lock at a time, for one look into a table.
//!
//! # Where to go next
//!
//! `shards` for the table from blocks to owners, `owner` for what one engine announced, `lookup` for the question.

mod lookup;
mod owner;
mod owners;
mod shards;
mod table;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use lookup::{Asked, Found};
pub use owner::Owner;

use crate::block_hash::chained_hash;
use shards::Shards;

/// Bytes an index may use unless told otherwise.
pub const DEFAULT_BUDGET: usize = 256 << 20;

/// What engines hold.
#[derive(Debug)]
pub struct CacheIndex {
    shards: Shards,
    /// The pod behind each slot; `None` = free.
    slots: RwLock<Vec<Option<u64>>>,
    /// Block sizes in use, with the number of owners that use them; few.
    sizes: RwLock<Vec<(u32, u32)>>,
    /// Where chains begin.
    seed: u64,
    budget: Budget,
    counts: Counts,
}

/// What an index holds and did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of all tables.
    pub bytes: u64,
    /// Blocks held, once for each owner.
    pub blocks: u64,
    /// Engines (and ranks) that are followed.
    pub owners: u64,
    /// Blocks not taken in for want of room.
    pub refused: u64,
    /// Blocks not taken in because the block before them is not known.
    pub orphans: u64,
    /// How often an owner was forgotten.
    pub resets: u64,
}

#[derive(Debug, Default)]
struct Counts {
    blocks: AtomicU64,
    refused: AtomicU64,
    orphans: AtomicU64,
    resets: AtomicU64,
}

/// Bytes that are used of those that may be.
#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Takes bytes if there are as many.
    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| {
            used.checked_add(bytes)
                .filter(|together| *together <= self.limit)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Corrects what was taken once it is known better.
    fn settle(&self, taken: usize, needed: usize) {
        if needed > taken {
            self.used.fetch_add(needed - taken, Ordering::Relaxed);
        } else {
            self.give_back(taken - needed);
        }
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl CacheIndex {
    /// An empty index that uses at most `budget` bytes. A `seed` that clients cannot know keeps them from making
    /// prompts whose blocks collide.
    pub fn new(budget: usize, seed: u64) -> Self {
        Self {
            shards: Shards::default(),
            slots: RwLock::default(),
            sizes: RwLock::default(),
            seed,
            budget: Budget {
                limit: budget,
                used: AtomicUsize::new(0),
            },
            counts: Counts::default(),
        }
    }

    /// Begins to follow an engine in `pod`, which is any number that tells it from all others. An engine with several
    /// ranks is followed once for each; a rank's blocks are of no use to another. `None` = there are too many.
    pub fn join(self: &Arc<Self>, pod: u64) -> Option<Owner> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(slots.len());
        let number = u16::try_from(slot + 1).ok()?;
        match slots.get_mut(slot) {
            Some(free) => *free = Some(pod),
            None => slots.push(Some(pod)),
        }
        Some(Owner::new(Arc::clone(self), number))
    }

    /// What is held and was done.
    pub fn figures(&self) -> Figures {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            bytes: self.budget.used.load(Ordering::Relaxed) as u64,
            blocks: get(&self.counts.blocks),
            owners: slots.iter().flatten().count() as u64,
            refused: get(&self.counts.refused),
            orphans: get(&self.counts.orphans),
            resets: get(&self.counts.resets),
        }
    }

    /// Whether no engine holds anything, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.counts.blocks.load(Ordering::Relaxed) == 0
    }

    /// The block size most engines use, in tokens; `None` = no engine has announced a block yet.
    pub fn block_size(&self) -> Option<u32> {
        self.sizes().first().copied()
    }

    /// Block sizes in use, most used first.
    fn sizes(&self) -> smallvec::SmallVec<[u32; 4]> {
        let sizes = self.sizes.read().unwrap_or_else(PoisonError::into_inner);
        sizes.iter().map(|(size, _)| *size).collect()
    }

    /// An owner uses another block size than before; 0 = none.
    fn change_size(&self, before: u32, now: u32) {
        let mut sizes = self.sizes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = sizes.iter_mut().find(|(size, _)| *size == before) {
            entry.1 = entry.1.saturating_sub(1);
        }
        match sizes.iter_mut().find(|(size, _)| *size == now) {
            Some(entry) => entry.1 += 1,
            None if now > 0 => sizes.push((now, 1)),
            None => {}
        }
        sizes.retain(|(_, users)| *users > 0);
        sizes.sort_by_key(|(size, users)| (std::cmp::Reverse(*users), *size));
    }

    /// What the first block of a prompt comes after: nothing, or the adapter it is computed with.
    fn root(&self, adapter: Option<&str>) -> u64 {
        adapter.map_or(self.seed, |name| {
            let name: smallvec::SmallVec<[u32; 64]> = name.bytes().map(u32::from).collect();
            chained_hash(!self.seed, &name)
        })
    }
}

#[cfg(test)]
mod tests;
