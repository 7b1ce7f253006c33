//! A queue of keys that need work.
//!
//! A key waits at most once, however often it is added. While a worker holds it, adding it again makes it wait
//! for that worker to finish. A key that failed comes back after a delay that doubles with every failure in a
//! row, and all failures together keep a common rate.
//!
//! # Where to go next
//!
//! `backlog` holds the rules without a clock; this module adds waiting.

mod backlog;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::throttle::RequestRate;
use backlog::Backlog;

/// How failed keys come back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryLimits {
    /// Delay after the first failure; doubles from there.
    pub first: Duration,
    /// Longest delay.
    pub longest: Duration,
    /// Rate of all retries together.
    pub overall: RequestRate,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(5),
            longest: Duration::from_secs(1000),
            overall: RequestRate {
                per_second: 10.0,
                burst: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
            },
        }
    }
}

/// The queue; clones share it.
#[derive(Debug)]
pub struct WorkQueue<K: Clone + Eq + Hash + Ord>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K: Clone + Eq + Hash + Ord> {
    backlog: Mutex<Backlog<K>>,
    changed: Notify,
}

/// A key that is being worked on. Dropping it ends the work.
#[derive(Debug)]
pub struct Claim<K: Clone + Eq + Hash + Ord> {
    key: K,
    queue: WorkQueue<K>,
}

impl<K: Clone + Eq + Hash + Ord> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash + Ord> WorkQueue<K> {
    /// An empty queue.
    pub fn new(limits: RetryLimits) -> Self {
        let backlog = Mutex::new(Backlog::new(limits, Instant::now()));
        Self(Arc::new(Shared {
            backlog,
            changed: Notify::new(),
        }))
    }

    /// The key needs work now.
    pub fn add(&self, key: K) {
        self.lock().add(key);
        self.0.changed.notify_one();
    }

    /// The key needs work once `delay` is over. The earliest such moment counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.lock().add_at(key, Instant::now() + delay);
        self.0.changed.notify_one();
    }

    /// Work on the key failed: it comes back after its back-off. Answers with the delay.
    pub fn retry(&self, key: K) -> Duration {
        let delay = self.lock().retry(key, Instant::now());
        self.0.changed.notify_one();
        delay
    }

    /// Work on the key succeeded: its next failure is a first one.
    pub fn forget(&self, key: &K) {
        self.lock().forget(key);
    }

    /// Waits for the next key. `None` once the queue is closed and nothing waits any more.
    pub async fn next(&self) -> Option<Claim<K>> {
        loop {
            let changed = self.0.changed.notified();
            let wake = {
                let mut backlog = self.lock();
                if let Some(key) = backlog.take(Instant::now()) {
                    drop(backlog);
                    // Whatever else there is must not wait for this worker to come back.
                    self.0.changed.notify_one();
                    return Some(Claim {
                        key,
                        queue: self.clone(),
                    });
                }
                if backlog.is_closed() {
                    drop(backlog);
                    self.0.changed.notify_one();
                    return None;
                }
                backlog.next_due()
            };
            match wake {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Keys that wait for a worker, without those that wait for a moment.
    pub fn depth(&self) -> usize {
        self.lock().depth()
    }

    /// Lets workers finish what waits, then ends. Keys that wait for a moment are dropped.
    pub fn close(&self) {
        self.lock().close();
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Backlog<K>> {
        self.0
            .backlog
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> Deref for Claim<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash + Ord> Drop for Claim<K> {
    fn drop(&mut self) {
        self.queue.lock().done(&self.key);
        self.queue.0.changed.notify_one();
    }
}
