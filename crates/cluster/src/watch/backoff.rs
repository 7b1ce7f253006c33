//! How long to wait before trying again: doubling, capped, with jitter so that clients do not return in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure; `chance` in `0.0..1.0` spreads the delay over its upper half.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let full = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full / 2 + (full / 2).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Notes a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}
