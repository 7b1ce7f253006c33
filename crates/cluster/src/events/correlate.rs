//! Which events are written, which raise the count of an earlier one, which are dropped.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::{Notice, Subject};
use crate::throttle::{RequestRate, TokenBucket};

/// Events of one object: 25 at once, then one in five minutes.
const BUDGET: RequestRate = RequestRate {
    per_second: 1.0 / 300.0,
    burst: NonZeroU32::MIN.saturating_add(24),
};
/// Repeats within this time raise a count.
const MEMORY: Duration = Duration::from_mins(10);
/// Notices remembered before old ones are forgotten.
const REMEMBERED: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    First,
    Repeat { name: String, count: u32 },
    Drop,
}

struct Written {
    name: Option<String>,
    count: u32,
    last: Instant,
}

#[derive(Default)]
pub(super) struct Correlator {
    written: HashMap<Notice, Written>,
    budgets: HashMap<Subject, (TokenBucket, Instant)>,
    sequence: u64,
}

impl Correlator {
    pub(super) fn admit(&mut self, notice: &Notice, now: Instant) -> Verdict {
        self.forget_old(now);
        let (budget, used) = self
            .budgets
            .entry(notice.subject.clone())
            .or_insert_with(|| (TokenBucket::new(BUDGET, now), now));
        *used = now;
        if !budget.try_take(now) {
            return Verdict::Drop;
        }
        self.sequence += 1;
        if let Some(Written {
            name: Some(name),
            count,
            last,
        }) = self.written.get_mut(notice)
        {
            *count = count.saturating_add(1);
            *last = now;
            return Verdict::Repeat {
                name: name.clone(),
                count: *count,
            };
        }
        self.written.insert(
            notice.clone(),
            Written {
                name: None,
                count: 1,
                last: now,
            },
        );
        Verdict::First
    }

    /// The first event was stored under this name.
    pub(super) fn written(&mut self, notice: &Notice, name: String) {
        if let Some(entry) = self.written.get_mut(notice) {
            entry.name = Some(name);
        }
    }

    /// The stored event is gone; the next one is a first one.
    pub(super) fn lost(&mut self, notice: &Notice) {
        self.written.remove(notice);
    }

    /// Differs for each admitted event.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    fn forget_old(&mut self, now: Instant) {
        if self.written.len() >= REMEMBERED {
            self.written
                .retain(|_, entry| now.saturating_duration_since(entry.last) < MEMORY);
            // Too many within ten minutes: counting repeats is a courtesy, memory is not.
            if self.written.len() >= REMEMBERED {
                self.written.clear();
            }
        }
        if self.budgets.len() >= REMEMBERED {
            let full_again = Duration::from_mins(5 * 25);
            self.budgets
                .retain(|_, (_, used)| now.saturating_duration_since(*used) < full_again);
        }
    }
}
