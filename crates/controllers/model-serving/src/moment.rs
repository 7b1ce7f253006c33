//! The time of a plan, on two clocks.

use std::time::Duration;

use jiff::Timestamp;

/// When a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// On the clock on the wall, for what people read. It may be set forward or back at any time.
    pub wall: Timestamp,
    /// Since some moment that is the same for all plans of one [`Memory`](crate::Memory), on a clock that is never set:
    /// what waiting is measured by.
    pub steady: Duration,
}
