//! Bindings in memory: bounded, with a time to live.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Binding, SessionKey};

/// Tables above this many entries are cut into parts with a lock each.
const PARTS: usize = 16;
const SMALL: usize = 4096;

/// What an entry costs beside the text in it, in bytes: two maps' slots and their spare room.
const ENTRY: usize = 2 * (size_of::<(SessionKey, Entry)>() + size_of::<(u64, SessionKey)>());

/// How large a table may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StickyLimits {
    /// Most sessions.
    pub entries: NonZeroUsize,
    /// Most memory, in bytes, as this crate estimates it.
    pub bytes: NonZeroUsize,
}

/// What a table holds and has done, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StickyCounts {
    /// Sessions that are bound.
    pub entries: u64,
    /// Estimate of their memory.
    pub bytes: u64,
    /// Sessions that were forgotten before their time because of a limit.
    pub evicted: u64,
    /// Sessions whose time was up.
    pub expired: u64,
    /// Sessions that were bound to another pod than before.
    pub moved: u64,
}

/// Bindings of sessions to pods.
#[derive(Debug)]
pub struct StickyTable {
    parts: Vec<Mutex<Part>>,
}

#[derive(Debug)]
struct Part {
    limits: StickyLimits,
    entries: HashMap<SessionKey, Entry>,
    /// By last success.
    order: BTreeMap<u64, SessionKey>,
    next: u64,
    counts: StickyCounts,
}

#[derive(Debug)]
struct Entry {
    binding: Binding,
    expires: Instant,
    order: u64,
}

impl Default for StickyLimits {
    fn default() -> Self {
        Self {
            entries: NonZeroUsize::new(100_000).unwrap_or(NonZeroUsize::MIN),
            bytes: NonZeroUsize::new(64 << 20).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl StickyTable {
    /// An empty table.
    pub fn new(limits: StickyLimits) -> Self {
        let parts = if limits.entries.get() > SMALL {
            PARTS
        } else {
            1
        };
        let share = |limit: NonZeroUsize| NonZeroUsize::new(limit.get() / parts).unwrap_or(limit);
        let limits = StickyLimits {
            entries: share(limits.entries),
            bytes: share(limits.bytes),
        };
        Self {
            parts: (0..parts).map(|_| Mutex::new(Part::new(limits))).collect(),
        }
    }

    /// What the session is bound to, if its time is not up.
    pub fn get(&self, key: SessionKey, now: Instant) -> Option<Binding> {
        let part = self.part(key);
        let entry = part.entries.get(&key).filter(|entry| now < entry.expires);
        entry.map(|entry| entry.binding.clone())
    }

    /// A request of the session succeeded on `answered`, having seen `seen` before it was placed. Binds the session for
    /// `ttl` from `now`; if another request has moved it meanwhile, that one's binding stays. Returns what holds.
    pub fn settle(
        &self,
        key: SessionKey,
        seen: Option<&Binding>,
        answered: Binding,
        ttl: Duration,
        now: Instant,
    ) -> Binding {
        self.part(key).settle(key, seen, answered, ttl, now)
    }

    /// What the table holds and has done.
    pub fn counts(&self) -> StickyCounts {
        let mut sum = StickyCounts::default();
        for part in &self.parts {
            let counts = lock(part).counts;
            sum.entries += counts.entries;
            sum.bytes += counts.bytes;
            sum.evicted += counts.evicted;
            sum.expired += counts.expired;
            sum.moved += counts.moved;
        }
        sum
    }

    fn part(&self, key: SessionKey) -> MutexGuard<'_, Part> {
        let count = self.parts.len() as u128;
        // The remainder is below the number of parts.
        lock(&self.parts[usize::try_from(key.get() % count).unwrap_or(0)])
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    fn new(limits: StickyLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            counts: StickyCounts::default(),
        }
    }

    fn settle(
        &mut self,
        key: SessionKey,
        seen: Option<&Binding>,
        answered: Binding,
        ttl: Duration,
        now: Instant,
    ) -> Binding {
        self.forget_expired(now);
        let current = self.take(key).filter(|entry| now < entry.expires);
        let (binding, expires) = match current {
            // Moved by another request: its session stays together there.
            Some(entry) if seen != Some(&entry.binding) && entry.binding != answered => {
                (entry.binding, entry.expires)
            }
            Some(entry) => {
                self.counts.moved += u64::from(entry.binding != answered);
                (answered, now + ttl)
            }
            None => (answered, now + ttl),
        };
        self.put(key, binding.clone(), expires);
        while self.entries.len() > self.limits.entries.get()
            || self.counts.bytes > self.limits.bytes.get() as u64
        {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            self.take(*oldest);
            self.counts.evicted += 1;
        }
        binding
    }

    /// Forgets those who succeeded the longest ago as far as their time is up. One with a longer time in front keeps
    /// others for as long; the limits still hold.
    fn forget_expired(&mut self, now: Instant) {
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let expired = self
                .entries
                .get(&oldest)
                .is_none_or(|entry| entry.expires <= now);
            if !expired {
                return;
            }
            self.take(oldest);
            self.counts.expired += 1;
        }
    }

    fn put(&mut self, key: SessionKey, binding: Binding, expires: Instant) {
        self.next += 1;
        self.counts.bytes += cost(&binding);
        self.order.insert(self.next, key);
        let entry = Entry {
            binding,
            expires,
            order: self.next,
        };
        self.entries.insert(key, entry);
        self.counts.entries = self.entries.len() as u64;
    }

    fn take(&mut self, key: SessionKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        self.order.remove(&entry.order);
        self.counts.bytes -= cost(&entry.binding);
        self.counts.entries = self.entries.len() as u64;
        Some(entry)
    }
}

fn cost(binding: &Binding) -> u64 {
    let group = binding.group.as_ref().map_or(0, |group| group.len());
    (ENTRY + binding.server.len() + binding.pod.len() + group) as u64
}

#[cfg(test)]
mod tests;
