//! Decides which blocks of computed keys and values an engine holds: paging, sharing by content,
//! eviction of what was used longest ago.
//!
//! A block holds the entries of `block_size` tokens. A full block is known by the hash of its
//! content and of everything before it ([`BlockHash`]), so equal prefixes share blocks. A block that
//! no request uses keeps its content until its place is needed.
//!
//! # Invariants
//!
//! - Blocks in use and free blocks together are always the capacity.
//! - A block in use is never evicted; a hash leads to at most one block.
//!
//! # Where to go next
//!
//! [`events`] tells the outside what is stored; the batch scheduler decides who gets blocks.

mod events;
mod free_list;
mod hash;

use std::collections::HashMap;
use std::sync::Arc;

pub use events::KvEvent;
use free_list::{FreeList, Links};
pub use hash::{BlockHash, chain};

#[cfg(test)]
mod tests;

/// Position of a block in the cache.
pub type BlockId = u32;

/// How a cache is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// Blocks in all.
    pub blocks: u32,
    /// Tokens a block holds.
    pub block_size: u32,
    /// Whether blocks are found again by content.
    pub prefix_caching: bool,
    /// Whether changes are recorded as events.
    pub record_events: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Block {
    hash: Option<BlockHash>,
    refs: u32,
    links: Links,
}

/// A block just filled, as it becomes known by its content.
#[derive(Debug, Clone, Copy)]
pub struct Filled<'a> {
    /// Where it is.
    pub block: BlockId,
    /// Its content and what came before.
    pub hash: BlockHash,
    /// The block before it in the sequence.
    pub parent: Option<BlockHash>,
    /// Its tokens.
    pub tokens: &'a [u32],
    /// The adapter it was computed with.
    pub adapter: Option<&'a Arc<str>>,
}

/// A paged cache of keys and values.
#[derive(Debug)]
pub struct KvCache {
    config: CacheConfig,
    /// Only blocks that were ever used; the rest of the capacity costs no memory.
    blocks: Vec<Block>,
    free: FreeList,
    by_hash: HashMap<BlockHash, BlockId>,
    events: Vec<KvEvent>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> Self {
        Self {
            config,
            blocks: Vec::new(),
            free: FreeList::default(),
            by_hash: HashMap::new(),
            events: Vec::new(),
        }
    }

    /// Tokens a block holds.
    pub fn block_size(&self) -> u32 {
        self.config.block_size
    }

    /// Blocks in all.
    pub fn capacity(&self) -> u32 {
        self.config.blocks
    }

    /// Blocks no request uses, whether or not they have content.
    pub fn free_blocks(&self) -> u32 {
        self.config.blocks - self.blocks.len() as u32 + self.free.len()
    }

    /// Share of the blocks that requests use.
    pub fn usage(&self) -> f64 {
        let used = self.config.blocks - self.free_blocks();
        f64::from(used) / f64::from(self.config.blocks.max(1))
    }

    /// How many leading blocks of a sequence with these hashes are here.
    pub fn cached_prefix(&self, hashes: &[BlockHash]) -> usize {
        let known = |hash: &&BlockHash| self.by_hash.contains_key(hash);
        hashes.iter().take_while(known).count()
    }

    /// Takes the cached blocks of `prefix`, which must be cached, and `fresh` blocks without
    /// content, in this order. Takes nothing when there are not enough.
    pub fn acquire(&mut self, prefix: &[BlockHash], fresh: u32) -> Option<Vec<BlockId>> {
        let found: Vec<BlockId> = prefix
            .iter()
            .map_while(|hash| self.by_hash.get(hash).copied())
            .collect();
        let idle = found.iter().filter(|&&id| self.block(id).refs == 0);
        // Idle blocks of the prefix count as free now but cannot be given out again.
        if found.len() < prefix.len() || self.free_blocks() < fresh + idle.count() as u32 {
            return None;
        }
        for &id in &found {
            self.retain(id);
        }
        let mut taken = found;
        taken.extend((0..fresh).map_while(|_| self.take_free()));
        Some(taken)
    }

    /// Makes a full block known by its content. A second block with the same content stays
    /// anonymous.
    pub fn publish(&mut self, filled: Filled<'_>) {
        if !self.config.prefix_caching || self.by_hash.contains_key(&filled.hash) {
            return;
        }
        self.by_hash.insert(filled.hash, filled.block);
        self.block_mut(filled.block).hash = Some(filled.hash);
        if self.config.record_events {
            events::store(&mut self.events, filled, self.config.block_size);
        }
    }

    /// Gives up a sequence's blocks. The last block of a sequence is the first to be evicted, since
    /// it is the least likely to be shared.
    pub fn release(&mut self, table: &[BlockId]) {
        for &id in table.iter().rev() {
            let block = self.block_mut(id);
            block.refs = block.refs.saturating_sub(1);
            if block.refs == 0 {
                self.free.push_back(&mut self.blocks, id);
            }
        }
    }

    /// Forgets all content, unless a request still uses a block.
    pub fn reset(&mut self) -> bool {
        if self.free.len() as usize != self.blocks.len() {
            return false;
        }
        self.blocks.clear();
        self.by_hash.clear();
        self.free = FreeList::default();
        if self.config.record_events {
            self.events.push(KvEvent::AllBlocksCleared);
        }
        true
    }

    /// What changed since the last call.
    pub fn take_events(&mut self) -> Vec<KvEvent> {
        std::mem::take(&mut self.events)
    }

    fn take_free(&mut self) -> Option<BlockId> {
        let id = if (self.blocks.len() as u32) < self.config.blocks {
            self.blocks.push(Block::default());
            self.blocks.len() as u32 - 1
        } else {
            let id = self.free.pop_front(&mut self.blocks)?;
            self.forget(id);
            id
        };
        self.block_mut(id).refs = 1;
        Some(id)
    }

    fn forget(&mut self, id: BlockId) {
        let Some(hash) = self.block_mut(id).hash.take() else {
            return;
        };
        self.by_hash.remove(&hash);
        if self.config.record_events {
            events::remove(&mut self.events, hash);
        }
    }

    fn retain(&mut self, id: BlockId) {
        if self.block(id).refs == 0 {
            self.free.unlink(&mut self.blocks, id);
        }
        self.block_mut(id).refs += 1;
    }

    fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id as usize]
    }

    fn block_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id as usize]
    }
}
