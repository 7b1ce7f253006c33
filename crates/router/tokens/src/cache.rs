//! Tokens of prompts that were seen before.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kthena_router_scheduler::PromptText;
use kthena_router_tokenizer::{SegmentKey, SegmentMemory};
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// Bytes an entry costs beside its tokens, about.
const ENTRY: usize = 96;

/// A prompt and the model it is for, told apart from others by 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptHash(u64, u64);

impl PromptHash {
    /// Of what is asked of `model`.
    pub fn of(model: &str, is_chat: bool, prompt: &dyn PromptText) -> Self {
        let mut halves = [
            Xxh64::new(u64::from(is_chat)),
            Xxh64::new(2 + u64::from(is_chat)),
        ];
        for half in &mut halves {
            half.update(model.as_bytes());
            half.update(&[0xff]);
        }
        prompt.pieces(&mut |piece| {
            for half in &mut halves {
                half.update(piece);
            }
            ControlFlow::Continue(())
        });
        let [first, second] = halves.map(|half| half.digest());
        Self(first, second)
    }

    /// Of everything an engine was asked.
    pub fn of_question(question: &[u8]) -> Self {
        let [first, second] = [4, 5].map(|half| xxh64(question, half));
        Self(first, second)
    }
}

impl From<SegmentKey> for PromptHash {
    fn from(key: SegmentKey) -> Self {
        let [first, second] = key.halves();
        Self(first, second)
    }
}

/// What the router's own tokenizers made of pieces of prompts is remembered in the same budget.
impl SegmentMemory for TokenCache {
    fn get(&self, key: SegmentKey) -> Option<Arc<[u32]>> {
        TokenCache::get(self, PromptHash::from(key))
    }

    fn put(&self, key: SegmentKey, tokens: &Arc<[u32]>) {
        TokenCache::put(self, PromptHash::from(key), tokens);
    }
}

/// Two generations: what is used moves to the young one, and when that is full the old one goes.
#[derive(Debug)]
pub struct TokenCache {
    /// Bytes of one generation.
    limit: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<PromptHash, Arc<[u32]>>,
    old: HashMap<PromptHash, Arc<[u32]>>,
    young_bytes: usize,
}

impl TokenCache {
    /// A cache of at most about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit / 2,
            generations: Mutex::default(),
        }
    }

    /// What was remembered, if it still is.
    pub fn get(&self, hash: PromptHash) -> Option<Arc<[u32]>> {
        let mut generations = self.lock();
        if let Some(tokens) = generations.young.get(&hash) {
            return Some(Arc::clone(tokens));
        }
        let tokens = generations.old.remove(&hash)?;
        self.add(&mut generations, hash, Arc::clone(&tokens));
        Some(tokens)
    }

    /// Remembers `tokens`.
    pub fn put(&self, hash: PromptHash, tokens: &Arc<[u32]>) {
        self.add(&mut self.lock(), hash, Arc::clone(tokens));
    }

    fn add(&self, generations: &mut Generations, hash: PromptHash, tokens: Arc<[u32]>) {
        let bytes = ENTRY + tokens.len() * size_of::<u32>();
        if bytes > self.limit {
            return;
        }
        if generations.young_bytes + bytes > self.limit {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        if generations.young.insert(hash, tokens).is_none() {
            generations.young_bytes += bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ENTRY, PromptHash, TokenCache};

    fn hash(prompt: &str) -> PromptHash {
        PromptHash::of("m", false, &prompt)
    }

    #[test]
    fn remembers_until_others_push_it_out() {
        // Two entries of four tokens per generation.
        let cache = TokenCache::new(4 * (ENTRY + 16));
        let tokens: Arc<[u32]> = [1, 2, 3, 4].into();
        for prompt in ["a", "b", "c"] {
            cache.put(hash(prompt), &tokens);
        }
        assert!(cache.get(hash("a")).is_some(), "used, so it is young again");
        cache.put(hash("d"), &tokens);
        cache.put(hash("e"), &tokens);
        assert!(cache.get(hash("b")).is_none());
        assert!(cache.get(hash("a")).is_some());
    }

    #[test]
    fn what_is_larger_than_a_generation_is_not_kept() {
        let cache = TokenCache::new(2 * ENTRY);
        cache.put(hash("a"), &[1, 2].into());
        assert!(cache.get(hash("a")).is_none());
    }

    #[test]
    fn models_and_kinds_are_told_apart() {
        let all = [
            PromptHash::of("m", false, &"text"),
            PromptHash::of("n", false, &"text"),
            PromptHash::of("m", true, &"text"),
            PromptHash::of("mt", false, &"ext"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one));
        }
    }
}
