//! Which pod has seen which beginning of a prompt.
//!
//! A prompt's text is cut into blocks; a block's hash covers all blocks before it, so one hash stands for a whole
//! beginning. [`PrefixIndex`] remembers which pod was sent which hashes.
//!
//! # Invariants
//!
//! - If a pod has a block, it has all blocks before it: of a prompt, the end is forgotten before the beginning.
//! - The index stays inside its byte budget, whatever is recorded. What is dropped for want of room is counted.
//! - A pod that was forgotten never comes back under the same number, and nothing can be recorded for it any more.
//! - No lock covers the whole index.
//!
//! # Where to go next
//!
//! [`block_hash`] for how prompts are hashed, [`index`] for what is remembered; the plugins crate asks both.

pub mod block_hash;
pub mod index;
mod lru;
mod owners;

pub use block_hash::{BlockHasher, Chain, root};
pub use index::{IndexConfig, ModelEvictions, PrefixIndex, Recorded};
