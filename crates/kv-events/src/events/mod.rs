//! What an engine says about its cache, as values, and the codec between them and the wire.
//!
//! Engines publish batches of events as `MessagePack`: positional arrays (vLLM for years, SGLang) or
//! maps with named fields (vLLM since 0.32). [`decode`] takes both, in any mixture; [`encode`]
//! writes either. Nothing here waits, reads a clock or logs.
//!
//! # Invariants
//!
//! - Any bytes give a batch or an error, never a panic, and no allocation larger than the input
//!   justifies.
//! - One event that is unknown or faulty costs that event only; both are counted in the [`Batch`],
//!   because an index that lost an event must know.
//! - What [`encode`] writes, [`decode`] reads back equal.
//!
//! # Where to go next
//!
//! [`Message`] splits the three frames of a ZMQ message, [`Order`] notices what was lost between
//! them.

mod decode;
mod encode;
mod hash;
mod message;
mod reader;

use std::sync::Arc;

pub use decode::{DecodeError, decode};
pub use encode::{Layout, encode};
pub use hash::EngineHash;
pub use message::{Message, Order, Progress};

#[cfg(test)]
mod tests;

/// What one scheduler step of an engine changed in its cache.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// When the engine published it, Unix seconds by the engine's clock.
    pub timestamp: f64,
    /// The data-parallel rank that speaks; each has a cache of its own. Engines without ranks may
    /// leave it out.
    pub rank: Option<u32>,
    /// The events in order.
    pub events: Vec<KvEvent>,
    /// Events of a kind this codec does not know, or about a store that other engines reach as well. They may be
    /// ignored: they say nothing of this engine.
    pub unknown: u32,
    /// Events of a known kind that could not be read: the cache changed in a way that was missed.
    pub faulty: u32,
    /// Those of them that took blocks away, so that nothing announced before may be believed any more.
    pub missed_removals: u32,
}

/// A change of what an engine's cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    /// Consecutive blocks of one sequence became available.
    Stored(Stored),
    /// Blocks were evicted.
    Removed(Removed),
    /// Everything was forgotten.
    Cleared,
}

/// Blocks that became available.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The engine's names for the blocks, in order.
    pub hashes: Vec<EngineHash>,
    /// The block before the first of them; none at the start of a sequence.
    pub parent: Option<EngineHash>,
    /// All their tokens.
    pub tokens: Vec<u32>,
    /// Tokens per block as the engine says; 0 if it does not.
    pub block_size: u32,
    /// The adapter they were computed with.
    pub adapter: Option<Adapter>,
    /// Where they are: `GPU`, or a slower tier. Engines with one tier may leave it out.
    pub medium: Option<Arc<str>>,
    /// The group of layers whose cache this is. Models with one kind of attention have group 0 only.
    pub group: u32,
    /// Whether more than tokens and adapter decides who may reuse the blocks: an image, a salt.
    pub keyed: bool,
}

/// Blocks that are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The engine's names for the blocks.
    pub hashes: Vec<EngineHash>,
    /// The tier they left; without it, all.
    pub medium: Option<Arc<str>>,
    /// The group of layers whose cache they left.
    pub group: u32,
}

/// A LoRA adapter as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The engine's own number.
    pub id: Option<i64>,
    /// The name requests use. Older engines send the number only.
    pub name: Option<Arc<str>>,
}

/// The tier that requests are computed on.
pub const GPU: &str = "GPU";

impl Stored {
    /// Whether the blocks are where requests are computed, so that reuse costs nothing.
    pub fn is_on_gpu(&self) -> bool {
        self.medium.as_deref().is_none_or(is_gpu)
    }

    /// The tokens of each block in turn, or nothing when they cannot be cut evenly.
    pub fn blocks(&self) -> Option<impl Iterator<Item = (&EngineHash, &[u32])>> {
        let size = self.tokens.len().checked_div(self.hashes.len())?;
        if size == 0 || size * self.hashes.len() != self.tokens.len() {
            return None;
        }
        Some(self.hashes.iter().zip(self.tokens.chunks_exact(size)))
    }
}

impl Removed {
    /// Whether they left the tier that requests are computed on.
    pub fn is_from_gpu(&self) -> bool {
        self.medium.as_deref().is_none_or(is_gpu)
    }
}

fn is_gpu(medium: &str) -> bool {
    medium.eq_ignore_ascii_case(GPU)
}
