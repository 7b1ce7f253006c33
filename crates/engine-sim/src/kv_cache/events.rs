//! Changes of the cache as values, in the vocabulary engines publish them with.

use std::sync::Arc;

use super::{BlockHash, Filled};

/// A change of what the cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    /// Consecutive blocks of one sequence became available.
    BlockStored {
        /// The blocks, in order.
        hashes: Vec<BlockHash>,
        /// The block before the first of them.
        parent: Option<BlockHash>,
        /// All their tokens.
        tokens: Vec<u32>,
        /// Tokens per block.
        block_size: u32,
        /// The adapter they were computed with.
        adapter: Option<Arc<str>>,
    },
    /// Blocks were evicted.
    BlockRemoved {
        /// The blocks.
        hashes: Vec<BlockHash>,
    },
    /// Everything was forgotten.
    AllBlocksCleared,
}

/// Records a filled block, in one event with its predecessor where that was recorded just before.
pub(super) fn store(events: &mut Vec<KvEvent>, filled: Filled<'_>, block_size: u32) {
    if let Some(KvEvent::BlockStored {
        hashes,
        tokens,
        adapter,
        ..
    }) = events.last_mut()
        && filled.parent.is_some()
        && hashes.last() == filled.parent.as_ref()
        && adapter.as_ref() == filled.adapter
    {
        hashes.push(filled.hash);
        tokens.extend_from_slice(filled.tokens);
        return;
    }
    events.push(KvEvent::BlockStored {
        hashes: vec![filled.hash],
        parent: filled.parent,
        tokens: filled.tokens.to_vec(),
        block_size,
        adapter: filled.adapter.cloned(),
    });
}

/// Records an eviction, in one event with those just before.
pub(super) fn remove(events: &mut Vec<KvEvent>, hash: BlockHash) {
    match events.last_mut() {
        Some(KvEvent::BlockRemoved { hashes }) => hashes.push(hash),
        _ => events.push(KvEvent::BlockRemoved { hashes: vec![hash] }),
    }
}
