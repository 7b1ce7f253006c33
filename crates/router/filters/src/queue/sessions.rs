//! Sessions whose last request was served a moment ago.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

/// A longer session id is no session: nobody may fill the memory with one.
pub const LONGEST_SESSION_ID: usize = 256;

/// A session of a user; ids are the client's choice, so one user's cannot touch another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    user: Arc<str>,
    id: Arc<str>,
}

impl SessionKey {
    /// `None` if the id says nothing or is too long.
    pub(crate) fn new(user: &str, id: &str) -> Option<Self> {
        (1..=LONGEST_SESSION_ID).contains(&id.len()).then(|| Self {
            user: user.into(),
            id: id.into(),
        })
    }
}

/// The most recently completed sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    capacity: NonZeroUsize,
    completed: HashMap<SessionKey, Completion>,
    /// By order of completion, which says who is forgotten first.
    order: BTreeMap<u64, SessionKey>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Completion {
    at: Instant,
    order: u64,
}

impl Sessions {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            capacity,
            completed: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// When the session last completed a request, if that is remembered. Asking keeps nothing in memory longer.
    pub(crate) fn completed(&self, key: &SessionKey) -> Option<Instant> {
        self.completed.get(key).map(|completion| completion.at)
    }

    /// The session completed a request.
    pub(crate) fn complete(&mut self, key: &SessionKey, at: Instant) {
        self.next += 1;
        let completion = Completion {
            at,
            order: self.next,
        };
        if let Some(earlier) = self.completed.insert(key.clone(), completion) {
            self.order.remove(&earlier.order);
        }
        self.order.insert(self.next, key.clone());
        if self.completed.len() > self.capacity.get()
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.completed.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
