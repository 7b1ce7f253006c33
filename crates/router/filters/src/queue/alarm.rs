//! Tells the task that watches the time when it must look earlier than it meant to.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The earliest moment at which some queue has something to do.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Mutex<Setting>);

#[derive(Debug, Default)]
struct Setting {
    /// What the watching task knows of; `None` = nothing.
    at: Option<Instant>,
    /// Somebody needs it earlier.
    rung: bool,
    watcher: Option<Waker>,
}

impl Alarm {
    /// The watching task looks at the queues now: whatever comes up from here on rings.
    pub(crate) fn disarm(&self) {
        let mut setting = self.lock();
        setting.at = None;
        setting.rung = false;
    }

    /// Something is due at `at`.
    pub(crate) fn needed(&self, at: Instant) {
        let mut setting = self.lock();
        if setting.at.is_some_and(|set| set <= at) {
            return;
        }
        setting.at = Some(at);
        setting.rung = true;
        let watcher = setting.watcher.take();
        drop(setting);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    /// The moment to look again, for the task that has just looked.
    pub(crate) fn at(&self) -> Option<Instant> {
        let mut setting = self.lock();
        setting.rung = false;
        setting.at
    }

    /// Ready once something is due earlier than [`Self::at`] said.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut setting = self.lock();
        if setting.rung {
            return Poll::Ready(());
        }
        setting.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Setting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
