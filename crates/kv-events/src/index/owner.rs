//! What one engine, or one rank of it, announced.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shards::Added;
use super::table::Table;
use super::{CacheIndex, chained_hash};
use crate::events::{Batch, EngineHash, KvEvent, Removed, Stored};

/// Applies the events of one engine. What it announced is forgotten when this drops.
#[derive(Debug)]
pub struct Owner {
    index: Arc<CacheIndex>,
    slot: u16,
    /// By the engine's name of a block.
    held: Table<Held>,
    /// Blocks that the engine holds under several names at once, and under how many more than one.
    repeated: Table<u32>,
    block_size: u32,
}

/// A block that the engine holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    block: u64,
    /// How often it is where requests are computed. Two requests may compute the same block side by side.
    fast: u16,
    /// How often it is on a slower tier.
    slow: u16,
}

impl Owner {
    pub(super) fn new(index: Arc<CacheIndex>, slot: u16) -> Self {
        Self {
            index,
            slot,
            held: Table::default(),
            repeated: Table::default(),
            block_size: 0,
        }
    }

    /// Tokens of a block as last announced; 0 = none was.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Applies a batch. If it took blocks away that cannot be told, nothing is believed of what was announced so far.
    pub fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                KvEvent::Stored(stored) => self.store(stored),
                KvEvent::Removed(removed) => self.remove(removed),
                KvEvent::Cleared => self.forget(),
            }
        }
        if batch.missed_removals > 0 {
            self.reset();
        }
    }

    /// Forgets everything, because something was missed or the engine started again.
    pub fn reset(&mut self) {
        count(&self.index.counts.resets, 1);
        self.forget();
    }

    fn store(&mut self, stored: &Stored) {
        // Neither blocks that depend on more than tokens nor those of other groups of layers can be asked for, and
        // what comes after them is not known either.
        let adapter = stored
            .adapter
            .as_ref()
            .map(|adapter| adapter.name.as_deref());
        if stored.keyed || stored.group != 0 || adapter == Some(None) {
            return;
        }
        let fast = stored.is_on_gpu();
        let Some(blocks) = stored.blocks() else {
            if !fast && stored.tokens.is_empty() {
                self.hold_known(&stored.hashes);
            }
            return;
        };
        let before = match &stored.parent {
            None => Some(self.index.root(adapter.flatten())),
            Some(parent) => self.held.get(name(parent)).map(|held| held.block),
        };
        let Some(mut before) = before else {
            count(&self.index.counts.orphans, stored.hashes.len() as u64);
            return;
        };
        let mut left = stored.hashes.len();
        for (hash, tokens) in blocks {
            before = chained_hash(before, tokens);
            self.learn_size(tokens.len());
            if !self.hold(name(hash), before, fast) {
                count(&self.index.counts.refused, left as u64);
                return;
            }
            left -= 1;
        }
    }

    /// Blocks are on a slower tier too. Engines that move blocks there may name them only, without their tokens.
    fn hold_known(&mut self, hashes: &[EngineHash]) {
        for hash in hashes {
            if let Some(held) = self.held.get_mut(name(hash)) {
                held.slow = held.slow.saturating_add(1);
            }
        }
    }

    fn learn_size(&mut self, tokens: usize) {
        let size = u32::try_from(tokens).unwrap_or(0);
        if self.block_size != size {
            self.index.change_size(self.block_size, size);
            self.block_size = size;
        }
    }

    /// Notes one more copy of a block; `false` = there is no room.
    fn hold(&mut self, name: u64, block: u64, fast: bool) -> bool {
        let index = Arc::clone(&self.index);
        if let Some(held) = self.held.get_mut(name) {
            let copies = if fast { &mut held.fast } else { &mut held.slow };
            *copies = copies.saturating_add(1);
            return true;
        }
        let held = Held {
            block,
            fast: u16::from(fast),
            slow: u16::from(!fast),
        };
        if !self.held.insert(name, held, &index.budget) {
            return false;
        }
        match index.shards.add(block, self.slot, &index.budget) {
            Added::Fresh => {}
            Added::Again => match self.repeated.get_mut(block) {
                Some(more) => *more = more.saturating_add(1),
                // Without room for the note the block is given up with its first name: a hit less, no false one.
                None => drop(self.repeated.insert(block, 1, &index.budget)),
            },
            Added::Refused => {
                self.held.remove(name, &index.budget);
                return false;
            }
        }
        count(&index.counts.blocks, 1);
        true
    }

    fn remove(&mut self, removed: &Removed) {
        let fast = removed.is_from_gpu();
        for hash in &removed.hashes {
            let name = name(hash);
            let Some(held) = self.held.get_mut(name) else {
                continue;
            };
            let copies = if fast { &mut held.fast } else { &mut held.slow };
            *copies = copies.saturating_sub(1);
            if held.fast == 0 && held.slow == 0 {
                let block = held.block;
                self.held.remove(name, &self.index.budget);
                self.release(block);
            }
        }
    }

    /// One name of a block is gone.
    fn release(&mut self, block: u64) {
        let index = &self.index;
        index.counts.blocks.fetch_sub(1, Ordering::Relaxed);
        match self.repeated.get_mut(block) {
            Some(1) => drop(self.repeated.remove(block, &index.budget)),
            Some(more) => *more -= 1,
            None => index.shards.remove(block, self.slot, &index.budget),
        }
    }

    fn forget(&mut self) {
        let index = &self.index;
        drop(self.repeated.clear(&index.budget));
        let mut blocks = 0;
        for (_, held) in self.held.clear(&index.budget) {
            index.shards.remove(held.block, self.slot, &index.budget);
            blocks += 1;
        }
        index.counts.blocks.fetch_sub(blocks, Ordering::Relaxed);
        index.change_size(self.block_size, 0);
        self.block_size = 0;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.forget();
        let mut slots = self
            .index
            .slots
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(usize::from(self.slot) - 1) {
            *slot = None;
        }
    }
}

/// An engine's name for a block as a number.
fn name(hash: &EngineHash) -> u64 {
    match hash {
        EngineHash::Unsigned(number) => *number,
        EngineHash::Negative(number) => number.cast_unsigned(),
        EngineHash::Bytes(bytes) => xxhash_rust::xxh64::xxh64(bytes, 0),
    }
}

fn count(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
