//! Tokens that may be had of a model in one direction.

use std::time::{Duration, Instant};

/// Fills up evenly and is full at the start. What answers cost may leave it in debt, but never by more than it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    capacity: f64,
    per_second: f64,
    /// From `-capacity` to `capacity`, at `at`.
    balance: f64,
    at: Instant,
}

/// There is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    /// When there would be; `None` = never.
    pub(super) wait: Option<Duration>,
}

impl Bucket {
    /// A full bucket that takes `unit` to fill.
    pub(super) fn full(capacity: u32, unit: Duration, now: Instant) -> Self {
        let capacity = f64::from(capacity);
        Self {
            capacity,
            per_second: capacity / unit.as_secs_f64(),
            balance: capacity,
            at: now,
        }
    }

    /// The same with another limit. What was spent stays spent, and nothing is given.
    pub(super) fn resized(self, capacity: u32, unit: Duration, now: Instant) -> Self {
        let fresh = Self::full(capacity, unit, now);
        let balance = self.balance(now);
        Self {
            balance: balance.clamp(-fresh.capacity, fresh.capacity),
            ..fresh
        }
    }

    fn balance(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.balance + passed * self.per_second).min(self.capacity)
    }

    /// Whether there are `tokens`.
    pub(super) fn check(&self, tokens: u64, now: Instant) -> Result<(), Short> {
        // A count that does not fit is above every capacity.
        let wanted = u32::try_from(tokens).map_or(f64::INFINITY, f64::from);
        let missing = wanted - self.balance(now);
        if wanted == 0.0 || missing <= 0.0 {
            return Ok(());
        }
        let reachable = wanted <= self.capacity;
        Err(Short {
            wait: reachable.then(|| Duration::from_secs_f64(missing / self.per_second)),
        })
    }

    /// Takes `tokens`, whether they are there or not.
    pub(super) fn take(&mut self, tokens: u64, now: Instant) {
        let tokens = u32::try_from(tokens).map_or(f64::INFINITY, f64::from);
        self.balance = (self.balance(now) - tokens).max(-self.capacity);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests;
