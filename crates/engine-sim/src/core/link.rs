//! The card that blocks arrive over: transfers share it one after another.

use std::time::Duration;

/// A link of fixed speed that carries one transfer at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    busy_until: Duration,
}

impl Link {
    /// Books a transfer that takes `length` and may begin at `now`; when it is complete.
    pub(super) fn carry(&mut self, now: Duration, length: Duration) -> Duration {
        self.busy_until = self.busy_until.max(now) + length;
        self.busy_until
    }
}
