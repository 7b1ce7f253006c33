//! Delays between the restarts of a crashing container: none, then a base delay that doubles up to a ceiling.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The numbers of the restart back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffRules {
    /// Delay before the second restart; the first one is immediate.
    pub base: SignedDuration,
    /// Longest delay.
    pub ceiling: SignedDuration,
    /// A run this long makes the next restart immediate again.
    pub reset_after: SignedDuration,
}

impl Default for BackoffRules {
    /// The kubelet's numbers: 10 s, 5 min, 10 min.
    fn default() -> Self {
        Self {
            base: SignedDuration::from_secs(10),
            ceiling: SignedDuration::from_secs(300),
            reset_after: SignedDuration::from_secs(600),
        }
    }
}

/// How often a container has ended without a long run in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    steps: u32,
}

impl Backoff {
    /// The delay before the next start, for a container that ended after running for `ran`.
    pub fn after_exit(&mut self, ran: SignedDuration, rules: &BackoffRules) -> SignedDuration {
        if ran >= rules.reset_after {
            self.steps = 0;
        }
        let delay = match self.steps {
            0 => SignedDuration::ZERO,
            steps => {
                let factor = 1_i32
                    .checked_shl(steps - 1)
                    .filter(|factor| *factor > 0)
                    .unwrap_or(i32::MAX);
                rules
                    .base
                    .checked_mul(factor)
                    .unwrap_or(rules.ceiling)
                    .min(rules.ceiling)
            }
        };
        self.steps = self.steps.saturating_add(1);
        delay
    }
}
