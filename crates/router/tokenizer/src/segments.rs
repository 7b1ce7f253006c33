//! Pieces of a text that can be tokenized by themselves, so that what was tokenized before is looked up instead.
//!
//! A tokenizer never looks across a special token: what stands before one and what begins with one have the same
//! tokens apart as together. In a chat each message is such a piece, so the next turn costs only what it adds.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::AddedToken;
use xxhash_rust::xxh64::xxh64;

/// Bytes below which a piece is tokenized rather than looked up.
const WORTHWHILE: usize = 64;

/// A piece of text and the tokenizer it is for, told apart from others by 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentKey(u64, u64);

impl SegmentKey {
    /// All of its bits.
    pub fn halves(self) -> [u64; 2] {
        [self.0, self.1]
    }
}

/// What was tokenized before. May forget at any time.
pub trait SegmentMemory {
    /// The tokens of a piece, if they are still known.
    fn get(&self, key: SegmentKey) -> Option<Arc<[u32]>>;
    /// Remembers the tokens of a piece.
    fn put(&self, key: SegmentKey, tokens: &Arc<[u32]>);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemory;

impl SegmentMemory for NoMemory {
    fn get(&self, _: SegmentKey) -> Option<Arc<[u32]>> {
        None
    }

    fn put(&self, _: SegmentKey, _: &Arc<[u32]>) {}
}

/// Finds the special tokens in front of which texts may be cut.
#[derive(Debug)]
pub(crate) struct Cuts {
    tokens: AhoCorasick,
    /// Whether a token, by its number in `tokens`, may begin a piece.
    begins: Vec<bool>,
    /// Tells tokenizers apart.
    seed: u64,
}

impl Cuts {
    /// `None` = there is nothing to cut at.
    pub(crate) fn new(added: &[AddedToken], seed: u64) -> Option<Self> {
        let plain = |token: &&AddedToken| !token.content.is_empty();
        // Tokens that eat spaces beside them or want a word of their own depend on what is around them.
        let begins = |token: &AddedToken| {
            token.special && !token.normalized && !token.lstrip && !token.single_word
        };
        let begins: Vec<bool> = added.iter().filter(plain).map(begins).collect();
        if !begins.contains(&true) {
            return None;
        }
        // All of them, since one that may not begin a piece can be longer than one that may.
        let tokens = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(added.iter().filter(plain).map(|token| &token.content))
            .ok()?;
        Some(Self {
            tokens,
            begins,
            seed,
        })
    }

    /// The pieces of `text` in order, none of them empty.
    pub(crate) fn pieces<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut from = 0;
        let cuts = self
            .tokens
            .find_iter(text)
            .filter(|found| self.begins[found.pattern().as_usize()])
            .map(|found| found.start())
            .chain([text.len()]);
        cuts.filter_map(move |cut| {
            let piece = &text[from..cut];
            from = cut;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// What a piece is remembered by; `None` = it is too short to be.
    pub(crate) fn key(&self, piece: &str) -> Option<SegmentKey> {
        (piece.len() >= WORTHWHILE).then(|| {
            let hash = |half: u64| xxh64(piece.as_bytes(), self.seed.wrapping_add(half));
            SegmentKey(hash(0), hash(1))
        })
    }
}
