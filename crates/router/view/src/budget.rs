//! How many attempts a server's requests may repeat.
//!
//! A repeated attempt helps when one pod fails. When all of them do, repeating everything five times makes it worse,
//! so the attempts that are under way for a second time or more stay a small share of all work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Repeated attempts that may be under way in any case.
const FLOOR: u32 = 10;
/// One in this many attempts under way may be a repeated one.
const SHARE: u32 = 5;

/// Counts the repeated attempts of one server that are under way.
#[derive(Debug, Default)]
pub struct RetryBudget {
    extra: AtomicU32,
}

/// A repeated attempt. It counts until this drops.
#[derive(Debug)]
#[must_use = "the attempt counts only while this lives"]
pub struct ExtraAttempt(Arc<RetryBudget>);

impl RetryBudget {
    /// Begins a repeated attempt, if there may be one more while `live` attempts are under way in all.
    pub fn begin(self: &Arc<Self>, live: u32) -> Option<ExtraAttempt> {
        let most = FLOOR.max(live / SHARE);
        self.extra
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |extra| {
                (extra < most).then_some(extra + 1)
            })
            .ok()?;
        Some(ExtraAttempt(Arc::clone(self)))
    }
}

impl Drop for ExtraAttempt {
    fn drop(&mut self) {
        self.0.extra.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
