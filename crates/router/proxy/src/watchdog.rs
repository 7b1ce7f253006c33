//! Ends connections that make no progress.
//!
//! A connection only stores a deadline; once a second the worker looks at all of them. That costs a request two
//! stores instead of a timer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::silence::Silence;

/// The deadline of one connection.
#[derive(Debug)]
pub(crate) struct Watchdog {
    epoch: Instant,
    /// Milliseconds after `epoch`; 0 = none.
    deadline: AtomicU64,
    between_requests: AtomicBool,
    silence: Silence,
}

impl Watchdog {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            deadline: AtomicU64::new(0),
            between_requests: AtomicBool::new(true),
            silence: Silence::default(),
        }
    }

    /// What is known of the engines that the connection's request waits for.
    pub(crate) fn silence(&self) -> &Silence {
        &self.silence
    }

    /// Looks at the engines. Called once a second.
    pub(crate) fn look_at_engines(&self, limit: Duration) {
        self.silence.look(self.epoch.elapsed(), limit);
    }

    /// The connection ends unless something happens in this time.
    pub(crate) fn arm(&self, after: Duration) {
        let deadline = self.epoch.elapsed().saturating_add(after);
        self.deadline.store(
            u64::try_from(deadline.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
            Ordering::Relaxed,
        );
    }

    /// The connection may take its time.
    pub(crate) fn disarm(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Whether the connection waits for a request of which no byte has arrived.
    pub(crate) fn set_between_requests(&self, waiting: bool) {
        self.between_requests.store(waiting, Ordering::Relaxed);
    }

    pub(crate) fn is_between_requests(&self) -> bool {
        self.between_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn has_expired(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        deadline != 0 && self.epoch.elapsed().as_millis() >= u128::from(deadline)
    }
}
