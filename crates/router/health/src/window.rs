//! Outcomes of the recent past, counted without a lock.
//!
//! Two slots of half a window each, so that the sum covers between half a window and a whole one. A slot that belongs
//! to an older time is overwritten by whoever counts first.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of each of the two counts of a slot; the rest is the slot's time.
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TIME_MASK: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// Outcomes of the last window.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: [AtomicU64; 2],
}

/// How many outcomes there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) total: u64,
    pub(crate) failures: u64,
}

impl Window {
    /// Counts an outcome at half-window number `half`.
    pub(crate) fn count(&self, half: u64, failed: bool) {
        let slot = &self.slots[usize::from(half % 2 == 1)];
        let mut seen = slot.load(Ordering::Relaxed);
        loop {
            let mut volume = volume_at(seen, half);
            volume.total = (volume.total + 1).min(COUNT_MAX);
            volume.failures = (volume.failures + u64::from(failed)).min(COUNT_MAX);
            let next = pack(half, volume);
            match slot.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// What was counted in half-window `half` and the one before.
    pub(crate) fn volume(&self, half: u64) -> Volume {
        let slot = |half: u64| {
            let seen = self.slots[usize::from(half % 2 == 1)].load(Ordering::Relaxed);
            volume_at(seen, half)
        };
        let current = slot(half);
        let before = half.checked_sub(1).map(slot).unwrap_or_default();
        Volume {
            total: current.total + before.total,
            failures: current.failures + before.failures,
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

/// A slot's time, never 0, so that an untouched slot belongs to no time.
fn stamp(half: u64) -> u64 {
    (half + 1) & TIME_MASK
}

fn pack(half: u64, volume: Volume) -> u64 {
    (stamp(half) << (2 * COUNT_BITS)) | (volume.total << COUNT_BITS) | volume.failures
}

fn volume_at(packed: u64, half: u64) -> Volume {
    if packed >> (2 * COUNT_BITS) != stamp(half) || packed == 0 {
        return Volume::default();
    }
    Volume {
        total: (packed >> COUNT_BITS) & COUNT_MAX,
        failures: packed & COUNT_MAX,
    }
}

#[cfg(test)]
mod tests;
