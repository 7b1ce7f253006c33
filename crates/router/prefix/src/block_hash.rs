//! Hashes of a prompt's beginnings, in one pass over its pieces.
//!
//! Prompts share their beginnings: instructions, documents, the chat so far. The hashes of a stretch seen before are
//! taken from a table of the thread's own, see [`Memo`], so that mostly what is new is hashed.

use smallvec::SmallVec;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use xxhash_rust::xxh64::xxh64;

mod memo;

use memo::{Memo, STRETCH};

/// A prompt's hashes: number k covers the first k + 1 blocks.
pub type Chain = SmallVec<[u64; 128]>;

/// Most decimal digits of a hash.
const DIGITS: usize = 20;

thread_local! {
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// Hashes a prompt block by block as its pieces come. Blocks are bytes and may cut characters.
///
/// The hash of a block is XXH64 with seed 0 over the decimal digits of the hash before it and the block; the hash
/// before the first block is that of the model's name.
pub struct BlockHasher {
    block_bytes: usize,
    max_blocks: usize,
    chain: Chain,
    before: u64,
    /// Blocks that are not hashed yet, fewer than a stretch.
    waiting: SmallVec<[u8; STRETCH * 64]>,
    memo: Memo,
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
            waiting: SmallVec::new(),
            // A second hasher on the thread while this one is in use would begin with an empty table.
            memo: MEMO.take(),
        }
    }

    /// Takes the next piece of the prompt; breaks once no more are needed.
    pub fn push(&mut self, mut piece: &[u8]) -> ControlFlow<()> {
        while !piece.is_empty() {
            let blocks = STRETCH.min(self.max_blocks - self.chain.len());
            if blocks == 0 {
                return ControlFlow::Break(());
            }
            let stretch = blocks * self.block_bytes;
            if self.waiting.is_empty() && piece.len() >= stretch {
                self.close(&piece[..stretch]);
                piece = &piece[stretch..];
                continue;
            }
            let taken = piece.len().min(stretch - self.waiting.len());
            self.waiting.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if self.waiting.len() == stretch {
                let mut bytes = std::mem::take(&mut self.waiting);
                self.close(&bytes);
                bytes.clear();
                self.waiting = bytes;
            }
        }
        ControlFlow::Continue(())
    }

    /// The hashes. A last block that is not full counts too.
    pub fn finish(mut self) -> Chain {
        let rest = std::mem::take(&mut self.waiting);
        self.close(&rest);
        MEMO.set(self.memo);
        self.chain
    }

    /// Hashes some blocks, of which only the prompt's last may be short.
    fn close(&mut self, bytes: &[u8]) {
        let first = self.chain.len();
        if bytes.len() == STRETCH * self.block_bytes {
            let key = self.memo.key(self.before, self.block_bytes, bytes);
            if let Some(hashes) = self.memo.get(key) {
                self.chain.extend_from_slice(hashes);
            } else {
                hash_blocks(self.before, self.block_bytes, bytes, &mut self.chain);
                self.memo.put(key, &self.chain[first..]);
            }
        } else {
            hash_blocks(self.before, self.block_bytes, bytes, &mut self.chain);
        }
        self.before = self.chain.last().copied().unwrap_or(self.before);
    }
}

/// Adds to `chain` the hashes of `bytes`, behind the hash `before`.
fn hash_blocks(mut before: u64, block_bytes: usize, bytes: &[u8], chain: &mut Chain) {
    // Copying a block behind its digits and hashing both at once costs half of feeding the hash piece by piece.
    let mut joined: SmallVec<[u8; DIGITS + 128]> = SmallVec::from_elem(0, DIGITS + block_bytes);
    for block in bytes.chunks(block_bytes) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(before).as_bytes();
        let from = DIGITS - digits.len();
        let end = DIGITS + block.len();
        joined[from..DIGITS].copy_from_slice(digits);
        joined[DIGITS..end].copy_from_slice(block);
        before = xxh64(&joined[from..end], 0);
        chain.push(before);
    }
}

#[cfg(test)]
mod tests;
