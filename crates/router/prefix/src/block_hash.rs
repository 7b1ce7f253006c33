//! Hashes of a prompt's beginnings, in one pass over its pieces.

use smallvec::SmallVec;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use xxhash_rust::xxh64::{Xxh64, xxh64};

/// A prompt's hashes: number k covers the first k + 1 blocks.
pub type Chain = SmallVec<[u64; 128]>;

/// Hashes a prompt block by block as its pieces come. Blocks are bytes and may cut characters.
///
/// The hash of a block is XXH64 with seed 0 over the decimal digits of the hash before it and the block; the hash
/// before the first block is that of the model's name.
pub struct BlockHasher {
    block_bytes: usize,
    max_blocks: usize,
    chain: Chain,
    before: u64,
    /// Over the block that is being filled.
    state: Xxh64,
    filled: usize,
}

/// The hash before the first block of any prompt for `model`.
pub fn root(model: &str) -> u64 {
    xxh64(model.as_bytes(), 0)
}

impl BlockHasher {
    /// A hasher for a prompt whose model hashes to `root`. No more than `max_blocks` are hashed; the rest of the
    /// prompt is not looked at.
    pub fn new(root: u64, block_bytes: NonZeroUsize, max_blocks: NonZeroUsize) -> Self {
        Self {
            block_bytes: block_bytes.get(),
            max_blocks: max_blocks.get(),
            chain: Chain::new(),
            before: root,
            state: Xxh64::new(0),
            filled: 0,
        }
    }

    /// Takes the next piece of the prompt; breaks once no more are needed.
    pub fn push(&mut self, mut piece: &[u8]) -> ControlFlow<()> {
        while !piece.is_empty() {
            if self.chain.len() == self.max_blocks {
                return ControlFlow::Break(());
            }
            if self.filled == 0 {
                self.state.reset(0);
                self.state
                    .update(itoa::Buffer::new().format(self.before).as_bytes());
            }
            let taken = piece.len().min(self.block_bytes - self.filled);
            self.state.update(&piece[..taken]);
            self.filled += taken;
            piece = &piece[taken..];
            if self.filled == self.block_bytes {
                self.close();
            }
        }
        ControlFlow::Continue(())
    }

    /// The hashes. A last block that is not full counts too.
    pub fn finish(mut self) -> Chain {
        if self.filled > 0 {
            self.close();
        }
        self.chain
    }

    fn close(&mut self) {
        self.before = self.state.digest();
        self.chain.push(self.before);
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests;
