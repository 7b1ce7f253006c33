//! A table by block whose memory comes out of a budget.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::Budget;

/// A table this small is not worth giving back.
const SMALL: usize = 1024;

/// Values by block. Its memory must be [given back](Self::clear) before it drops.
#[derive(Debug)]
pub(super) struct Table<V>(HashMap<u64, V, BuildHasherDefault<Mixer>>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<V> Table<V> {
    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.0.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.0.get_mut(&key)
    }

    /// Takes in a value for a key that has none; `false` = there is no room.
    pub(super) fn insert(&mut self, key: u64, value: V, budget: &Budget) -> bool {
        if self.0.len() < self.0.capacity() {
            self.0.insert(key, value);
            return true;
        }
        // Growing doubles what is allocated, at most; a table begins with a few places.
        let before = self.0.allocation_size();
        let reserved = before.max(16 * size_of::<(u64, V)>());
        if !budget.take(reserved) {
            return false;
        }
        self.0.insert(key, value);
        let grown = self.0.allocation_size().saturating_sub(before);
        budget.settle(reserved, grown);
        true
    }

    pub(super) fn remove(&mut self, key: u64, budget: &Budget) -> Option<V> {
        let value = self.0.remove(&key)?;
        let before = self.0.allocation_size();
        let places = before / size_of::<(u64, V)>();
        if places > SMALL && self.0.len() < places / 8 {
            self.0.shrink_to(places / 4);
            budget.give_back(before.saturating_sub(self.0.allocation_size()));
        }
        Some(value)
    }

    /// Takes everything out and gives all memory back.
    pub(super) fn clear(&mut self, budget: &Budget) -> impl Iterator<Item = (u64, V)> + use<V> {
        let all = std::mem::take(&mut self.0);
        budget.give_back(all.allocation_size());
        all.into_iter()
    }
}

/// A hasher for one number that is a hash already, or that an engine chose.
#[derive(Debug, Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (number ^ self.0 ^ (number >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}
