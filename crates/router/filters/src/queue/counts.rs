//! What a queue has done so far, for metrics.

use std::time::Duration;

/// Upper bounds of the waits' histogram, in seconds; one more bucket is unbounded.
pub const WAIT_BOUNDS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Counts of one queue. Gauges are of now, the rest only grows as long as the queue exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that were admitted and have not ended.
    pub in_flight: u64,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests whose client left or whose time was up before that.
    pub cancelled: u64,
    /// Requests that were refused because too many waited.
    pub refused: u64,
    /// Changes of a priority that put somebody else first.
    pub refreshed: u64,
    /// Recalculations of all priorities that changed one.
    pub rebuilt: u64,
    /// How long requests waited, cancelled ones included.
    pub waits: Waits,
}

/// A histogram of waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// Waits up to each bound of [`WAIT_BOUNDS`] and above the one before; the last is unbounded.
    pub buckets: [u64; WAIT_BOUNDS.len() + 1],
    /// All waits together.
    pub sum: Duration,
}

impl Waits {
    pub(crate) fn observe(&mut self, wait: Duration) {
        let seconds = wait.as_secs_f64();
        let bucket = WAIT_BOUNDS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(WAIT_BOUNDS.len())] += 1;
        self.sum = self.sum.saturating_add(wait);
    }
}
