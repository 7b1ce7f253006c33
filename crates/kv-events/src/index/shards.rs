//! From blocks to their owners, cut into shards so that readers and writers seldom meet.

use std::sync::{PoisonError, RwLock};

use super::Budget;
use super::owners::Owners;
use super::table::Table;

const SHARDS: usize = 64;

#[derive(Debug)]
pub(super) struct Shards(Box<[RwLock<Table<Owners>>]>);

/// What became of a block that should be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Fresh,
    /// The owner holds it under another name too.
    Again,
    /// There is no room.
    Refused,
}

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

impl Shards {
    fn of(&self, block: u64) -> &RwLock<Table<Owners>> {
        &self.0[usize::try_from(block % SHARDS as u64).unwrap_or(0)]
    }

    /// Shows `look` who holds a block; `None` = nobody.
    pub(super) fn look<T>(&self, block: u64, look: impl FnOnce(&Owners) -> T) -> Option<T> {
        let table = self
            .of(block)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        table.get(block).map(look)
    }

    /// Notes that `slot` holds `block`.
    pub(super) fn add(&self, block: u64, slot: u16, budget: &Budget) -> Added {
        let mut table = self
            .of(block)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(owners) = table.get_mut(block) else {
            return if table.insert(block, Owners::one(slot), budget) {
                Added::Fresh
            } else {
                Added::Refused
            };
        };
        if owners.contains(slot) {
            return Added::Again;
        }
        if !budget.take(owners.growth(slot)) {
            return Added::Refused;
        }
        owners.insert(slot);
        Added::Fresh
    }

    /// Notes that `slot` does not hold `block` any more.
    pub(super) fn remove(&self, block: u64, slot: u16, budget: &Budget) {
        let mut table = self
            .of(block)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(owners) = table.get_mut(block) else {
            return;
        };
        let before = owners.heap_bytes();
        owners.remove(slot);
        budget.give_back(before - owners.heap_bytes());
        if owners.is_empty() {
            // An empty set has no memory of its own.
            table.remove(block, budget);
        }
    }
}
