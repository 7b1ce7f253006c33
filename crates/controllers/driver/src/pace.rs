//! How often a status is written that only says "a bit further".
//!
//! A hundred pods that become ready one after the other are a few writes, not a hundred. One `ModelServing` alone is
//! told of often; many that move at the same time share what is written for all of them, so that a large start does
//! not spend its time on counting. What is more than progress never waits.

use std::collections::HashSet;
use std::time::Duration;

use kthena_cluster::ObjectKey;

/// Shortest time between two such writes for one object.
const LEAST: Duration = Duration::from_secs(3);
/// Longest time, however many move.
const MOST: Duration = Duration::from_secs(30);
/// Time between two such writes for all objects together.
const SHARE: Duration = Duration::from_millis(200);

/// The objects that have not come to rest.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    moving: HashSet<ObjectKey>,
}

impl Pace {
    /// The object is on its way.
    pub(crate) fn moving(&mut self, key: &ObjectKey) {
        if !self.moving.contains(key) {
            self.moving.insert(key.clone());
        }
    }

    /// Nothing is left to do for the object, or it is gone.
    pub(crate) fn settled(&mut self, key: &ObjectKey) {
        self.moving.remove(key);
    }

    /// How much longer to wait after a write that was so long ago; `None` if not at all.
    pub(crate) fn patience(&self, since: Duration) -> Option<Duration> {
        let moving = u32::try_from(self.moving.len()).unwrap_or(u32::MAX);
        let pause = SHARE.saturating_mul(moving).clamp(LEAST, MOST);
        pause.checked_sub(since).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests;
