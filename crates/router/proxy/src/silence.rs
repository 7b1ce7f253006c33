//! Notices engines that say nothing for too long while somebody waits for them.
//!
//! A connection to an engine only notes that something passed on it; once a second the worker compares. So a stream
//! costs one store per read instead of a timer, and the limit is kept to within two seconds.
//!
//! # Invariants
//!
//! - Silence is judged per request, over all engines it waits for: while one half of a pair speaks, the other may think.
//! - Time in which nobody reads the engine does not count.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use crate::watchdog::Watchdog;

/// What is known of the engines that one request waits for.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// Connections that are waited for.
    waits: AtomicU32,
    /// Something passed since the worker last looked.
    heard: AtomicBool,
    /// When the worker last found that something had passed, in its own milliseconds.
    since: AtomicU64,
    /// It lasted too long.
    over: AtomicBool,
    /// Runs the task that waits.
    waker: OnceLock<Waker>,
}

/// A connection to an engine that somebody waits for.
#[derive(Debug)]
pub(crate) struct Attention(Arc<Watchdog>);

impl Silence {
    /// Who is run when the engines were silent for too long. The first call counts.
    pub(crate) fn wake_by(&self, waker: Waker) {
        self.waker.get_or_init(|| waker);
    }

    /// Called once a second with a clock that does not run backwards.
    pub(crate) fn look(&self, now: Duration, limit: Duration) {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let waits = self.waits.load(Ordering::Relaxed) > 0;
        if !waits || self.heard.swap(false, Ordering::Relaxed) {
            self.since.store(now, Ordering::Relaxed);
            return;
        }
        let quiet = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if u128::from(quiet) >= limit.as_millis() {
            self.over.store(true, Ordering::Relaxed);
            if let Some(waker) = self.waker.get() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Attention {
    /// From now on the engine has to say something within the limit.
    pub(crate) fn begin(watchdog: &Arc<Watchdog>) -> Self {
        let silence = watchdog.silence();
        if silence.waits.fetch_add(1, Ordering::Relaxed) == 0 {
            silence.over.store(false, Ordering::Relaxed);
        }
        silence.heard.store(true, Ordering::Relaxed);
        Self(Arc::clone(watchdog))
    }

    /// Fails once the limit has passed.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.0.silence().over.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Something passed.
    pub(crate) fn heard(&self) {
        self.0.silence().heard.store(true, Ordering::Relaxed);
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.silence().waits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether `error` is that of [`Attention::check`]. What the system calls a time-out is a connection that is dead.
pub(crate) fn is_silence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

#[cfg(test)]
mod tests;
