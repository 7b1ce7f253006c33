//! Hashes of stretches of prompts that this thread hashed before.
//!
//! Hashing block by block costs some sixty nanoseconds a block, one after the other, as each hash begins with the one
//! before. Telling whether a stretch of blocks is known costs a few nanoseconds a block. The table has a fixed size; a
//! stretch that falls where another is takes its place.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Blocks of a stretch.
pub(super) const STRETCH: usize = 16;

/// Places in the table, a power of two; 136 bytes each.
const PLACES: usize = 1024;

/// The table. Empty until the first stretch is put in.
#[derive(Default)]
pub(super) struct Memo {
    places: Vec<Place>,
    /// Drawn with the first stretch. Nobody outside knows it, so nobody can make two that are taken for one.
    secret: u64,
}

#[derive(Clone, Copy)]
struct Place {
    key: Key,
    hashes: [u64; STRETCH],
}

/// What tells stretches apart: the hash before them, the size of their blocks, their bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    fn place(self) -> usize {
        usize::try_from(self.0 % PLACES as u64).unwrap_or_default()
    }
}

impl Memo {
    pub(super) fn key(&self, before: u64, block_bytes: usize, bytes: &[u8]) -> Key {
        let seed = before.rotate_left(17) ^ self.secret ^ block_bytes as u64;
        // Zero marks a place that is empty.
        Key(xxh3_64_with_seed(bytes, seed).max(1))
    }

    pub(super) fn get(&self, key: Key) -> Option<&[u64]> {
        let place = self.places.get(key.place())?;
        (place.key == key).then_some(&place.hashes[..])
    }

    /// Remembers the hashes of a stretch. `hashes` are as many as a stretch has.
    pub(super) fn put(&mut self, key: Key, hashes: &[u64]) {
        if self.places.is_empty() {
            let empty = Place {
                key: Key(0),
                hashes: [0; STRETCH],
            };
            self.places = vec![empty; PLACES];
            self.secret = RandomState::new().hash_one(key.0);
        }
        let place = &mut self.places[key.place()];
        place.key = key;
        place.hashes.copy_from_slice(hashes);
    }
}
