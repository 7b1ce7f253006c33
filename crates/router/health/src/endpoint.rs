//! What live traffic shows of one endpoint.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::phase::Course;
use crate::window::Window;

/// Health of one endpoint: its counters and where it stands. Created trusted; lives as long as the pod is ready.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    /// Failures since the last answer.
    pub(crate) streak: AtomicU32,
    /// Failed connections since the last one that was made.
    pub(crate) connect_streak: AtomicU32,
    pub(crate) window: Window,
    /// Moves with every ejection and return, so that an outcome can be told from one of an earlier time.
    pub(crate) generation: AtomicU64,
    /// Not fully trusted: the course must be looked at.
    in_trouble: AtomicBool,
    retired: AtomicBool,
    course: Mutex<Course>,
    /// Where the policy counts endpoints in trouble, once this one was.
    tally: OnceLock<Arc<Tally>>,
}

/// How many endpoints need a closer look.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl EndpointHealth {
    /// Its pod is leaving or gone: no new attempt is begun, what runs goes on. Does not turn back: a pod that is ready
    /// again is a new endpoint.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::retire`] was called.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(crate) fn is_in_trouble(&self) -> bool {
        self.in_trouble.load(Ordering::Acquire)
    }

    pub(crate) fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the course must be looked at. Called with the course locked.
    pub(crate) fn enter_trouble(&self, tally: &Arc<Tally>) {
        if !self.in_trouble.swap(true, Ordering::AcqRel) {
            let own = self.tally.get_or_init(|| Arc::clone(tally));
            own.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The opposite. Called with the course locked.
    pub(crate) fn leave_trouble(&self) {
        if self.in_trouble.swap(false, Ordering::AcqRel)
            && let Some(tally) = self.tally.get()
        {
            tally.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn clear_counts(&self) {
        self.streak.store(0, Ordering::Relaxed);
        self.connect_streak.store(0, Ordering::Relaxed);
        self.window.clear();
    }
}

impl Drop for EndpointHealth {
    fn drop(&mut self) {
        self.leave_trouble();
    }
}
