//! The rules of the queue, with the clock as an argument.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use super::RetryLimits;
use crate::throttle::TokenBucket;

#[derive(Debug)]
pub(super) struct Backlog<K> {
    ready: VecDeque<K>,
    /// The members of `ready`, and keys that were added while somebody works on them.
    wanted: HashSet<K>,
    active: HashSet<K>,
    due: BTreeSet<(Instant, K)>,
    due_by_key: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
    limits: RetryLimits,
    bucket: TokenBucket,
    closed: bool,
}

impl<K: Clone + Eq + Hash + Ord> Backlog<K> {
    pub(super) fn new(limits: RetryLimits, now: Instant) -> Self {
        Self {
            ready: VecDeque::new(),
            wanted: HashSet::new(),
            active: HashSet::new(),
            due: BTreeSet::new(),
            due_by_key: HashMap::new(),
            failures: HashMap::new(),
            limits,
            bucket: TokenBucket::new(limits.overall, now),
            closed: false,
        }
    }

    pub(super) fn add(&mut self, key: K) {
        if !self.closed && self.wanted.insert(key.clone()) && !self.active.contains(&key) {
            self.ready.push_back(key);
        }
    }

    pub(super) fn add_at(&mut self, key: K, due: Instant) {
        if self.closed {
            return;
        }
        if let Some(earlier) = self.due_by_key.get(&key) {
            if *earlier <= due {
                return;
            }
            self.due.remove(&(*earlier, key.clone()));
        }
        self.due_by_key.insert(key.clone(), due);
        self.due.insert((due, key));
    }

    pub(super) fn retry(&mut self, key: K, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let own = self
            .limits
            .first
            .saturating_mul(1 << (*failures).min(30))
            .min(self.limits.longest);
        *failures = failures.saturating_add(1);
        let delay = own.max(self.bucket.take(now));
        self.add_at(key, now + delay);
        delay
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<K> {
        while let Some((due, _)) = self.due.first()
            && *due <= now
            && let Some((_, key)) = self.due.pop_first()
        {
            self.due_by_key.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.wanted.remove(&key);
        self.active.insert(key.clone());
        Some(key)
    }

    pub(super) fn done(&mut self, key: &K) {
        self.active.remove(key);
        if self.wanted.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn depth(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.due.clear();
        self.due_by_key.clear();
    }

    /// Closed, and nobody will bring more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed && self.wanted.is_empty()
    }
}
