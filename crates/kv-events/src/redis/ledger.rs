//! What an engine holds, by its own word.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use crate::block_hash::lone_hash;
use crate::events::{Batch, EngineHash, KvEvent, Order, Progress, Removed, Stored};

/// The rank of blocks whose rank nobody wrote down; any rank may remove them.
pub(super) const ANY_RANK: u32 = u32::MAX;

/// What must change in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The engine holds a block under this name.
    Map {
        /// The engine's name.
        hash: EngineHash,
        /// The standard one.
        standard: u64,
    },
    /// The name means nothing any more.
    Unmap {
        /// The engine's name.
        hash: EngineHash,
    },
    /// A block of these tokens is here, as of now.
    Own {
        /// The standard hash.
        standard: u64,
    },
    /// No block of these tokens is here any more.
    Disown {
        /// The standard hash.
        standard: u64,
    },
}

#[derive(Debug, Clone)]
struct Block {
    standard: u64,
    ranks: SmallVec<[u32; 1]>,
}

/// An engine's blocks.
///
/// Two blocks may have the same tokens behind different prefixes. They share a standard hash, which
/// is given up with the last of them.
#[derive(Debug)]
pub struct Ledger {
    blocks: HashMap<EngineHash, Block>,
    owned: HashMap<u64, u32>,
    orders: BTreeMap<u32, Order>,
    limit: usize,
}

impl Ledger {
    /// An empty ledger that never holds more than `limit` blocks.
    pub fn new(limit: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            owned: HashMap::new(),
            orders: BTreeMap::new(),
            limit,
        }
    }

    /// Blocks in it.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Books the number of a message of `rank`. What was claimed for the rank is given up when
    /// something was missed; the changes say so.
    pub fn observe(&mut self, rank: u32, sequence: Option<u64>) -> (Progress, Vec<Change>) {
        let progress = self.orders.entry(rank).or_default().observe(sequence);
        let mut changes = Vec::new();
        if matches!(progress, Progress::Gap { .. } | Progress::Restart { .. }) {
            self.forget_rank(rank, &mut changes);
        }
        (progress, changes)
    }

    /// Numbers of the messages that come next, by rank.
    pub fn expected(&self) -> impl Iterator<Item = (u32, u64)> {
        let next = self.orders.iter();
        next.filter_map(|(rank, order)| Some((*rank, order.next()?)))
    }

    /// Applies a message of `rank`.
    pub fn apply(&mut self, rank: u32, batch: &Batch) -> Vec<Change> {
        let mut changes = Vec::new();
        for event in &batch.events {
            match event {
                KvEvent::Stored(stored) => self.store(rank, stored, &mut changes),
                KvEvent::Removed(removed) => self.remove(rank, removed, &mut changes),
                KvEvent::Cleared => self.forget_rank(rank, &mut changes),
            }
        }
        if batch.missed_removals > 0 {
            self.forget_rank(rank, &mut changes);
        }
        changes
    }

    /// Takes over what an earlier sidecar wrote down.
    pub(super) fn restore(&mut self, hash: EngineHash, standard: u64, ranks: &[u32]) {
        let ranks = if ranks.is_empty() { &[ANY_RANK] } else { ranks };
        let block = Block {
            standard,
            ranks: SmallVec::from_slice(ranks),
        };
        if self.blocks.insert(hash, block).is_none() {
            *self.owned.entry(standard).or_default() += 1;
        }
    }

    /// Goes on with the numbers an earlier sidecar saw.
    pub(super) fn resume(&mut self, rank: u32, next: u64) {
        if let Some(last) = next.checked_sub(1) {
            self.orders.entry(rank).or_default().observe(Some(last));
        }
    }

    /// Every block with its standard hash and its ranks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&EngineHash, u64, &[u32])> {
        let blocks = self.blocks.iter();
        blocks.map(|(hash, block)| (hash, block.standard, &block.ranks[..]))
    }

    pub(super) fn ranks(&self, hash: &EngineHash) -> &[u32] {
        self.blocks.get(hash).map_or(&[], |block| &block.ranks)
    }

    pub(super) fn owns(&self, standard: u64) -> bool {
        self.owned.contains_key(&standard)
    }

    /// Only what every request for the base model may use is written down.
    fn store(&mut self, rank: u32, stored: &Stored, changes: &mut Vec<Change>) {
        let shared = stored.adapter.is_none() && !stored.keyed && stored.group == 0;
        if !shared || !stored.is_on_gpu() {
            return;
        }
        let Some(blocks) = stored.blocks() else {
            if !stored.hashes.is_empty() && !stored.tokens.is_empty() {
                tracing::warn!("an event's tokens cannot be cut into its blocks; ignored");
            }
            return;
        };
        for (hash, tokens) in blocks {
            self.add(rank, hash, lone_hash(tokens), changes);
        }
    }

    fn add(&mut self, rank: u32, hash: &EngineHash, standard: u64, changes: &mut Vec<Change>) {
        let known = self.blocks.get(hash).map(|block| block.standard);
        match known {
            Some(known) if known == standard => {
                if let Some(block) = self.blocks.get_mut(hash)
                    && !block.ranks.contains(&rank)
                {
                    block.ranks.push(rank);
                }
            }
            // The engine uses the name for something else now.
            Some(_) => self.drop_block(hash, changes),
            None => {}
        }
        if known != Some(standard) {
            if self.blocks.len() >= self.limit {
                // More than any engine can hold: removals were missed in a way nothing told of.
                tracing::warn!(limit = self.limit, "too many blocks; starting over");
                self.forget_everything(changes);
            }
            let ranks = SmallVec::from_slice(&[rank]);
            self.blocks.insert(hash.clone(), Block { standard, ranks });
            *self.owned.entry(standard).or_default() += 1;
        }
        changes.push(Change::Map {
            hash: hash.clone(),
            standard,
        });
        changes.push(Change::Own { standard });
    }

    fn remove(&mut self, rank: u32, removed: &Removed, changes: &mut Vec<Change>) {
        if removed.group != 0 || !removed.is_from_gpu() {
            return;
        }
        for hash in &removed.hashes {
            self.leave(rank, hash, changes);
        }
    }

    /// The rank does not hold the block any more.
    fn leave(&mut self, rank: u32, hash: &EngineHash, changes: &mut Vec<Change>) {
        let Some(block) = self.blocks.get_mut(hash) else {
            return;
        };
        block
            .ranks
            .retain(|held| *held != rank && *held != ANY_RANK);
        if block.ranks.is_empty() {
            self.drop_block(hash, changes);
        }
    }

    fn drop_block(&mut self, hash: &EngineHash, changes: &mut Vec<Change>) {
        let Some(block) = self.blocks.remove(hash) else {
            return;
        };
        changes.push(Change::Unmap { hash: hash.clone() });
        let standard = block.standard;
        if let Some(count) = self.owned.get_mut(&standard) {
            *count -= 1;
            if *count == 0 {
                self.owned.remove(&standard);
                changes.push(Change::Disown { standard });
            }
        }
    }

    fn forget_rank(&mut self, rank: u32, changes: &mut Vec<Change>) {
        let held = |(hash, block): (&EngineHash, &Block)| {
            let held = block
                .ranks
                .iter()
                .any(|held| *held == rank || *held == ANY_RANK);
            held.then(|| hash.clone())
        };
        let hashes: Vec<EngineHash> = self.blocks.iter().filter_map(held).collect();
        for hash in &hashes {
            self.leave(rank, hash, changes);
        }
    }

    fn forget_everything(&mut self, changes: &mut Vec<Change>) {
        let hashes: Vec<EngineHash> = self.blocks.keys().cloned().collect();
        for hash in &hashes {
            self.drop_block(hash, changes);
        }
    }
}
