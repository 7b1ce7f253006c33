//! Prompts whose blocks wait for another engine to come for them, by key, oldest first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::batch::RequestId;

/// What is kept, each entry for the same time.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_key: HashMap<String, RequestId>,
    /// In the order they expire; those that were taken are skipped when their turn comes.
    expiries: VecDeque<(Duration, String, RequestId)>,
}

impl Kept {
    /// Keeps a prompt's blocks; the prompt that had this key before, if any.
    pub(super) fn put(
        &mut self,
        key: String,
        id: RequestId,
        expiry: Duration,
    ) -> Option<RequestId> {
        self.expiries.push_back((expiry, key.clone(), id));
        self.by_key.insert(key, id)
    }

    /// Hands a prompt's blocks to whoever came for them.
    pub(super) fn take(&mut self, key: &str) -> Option<RequestId> {
        let id = self.by_key.remove(key);
        self.forget_taken();
        id
    }

    /// A prompt nobody came for in time, to be freed; call until there is none.
    pub(super) fn expired(&mut self, now: Duration) -> Option<RequestId> {
        self.forget_taken();
        let (_, key, id) = self
            .expiries
            .pop_front_if(|(expiry, _, _)| *expiry <= now)?;
        self.by_key.remove(&key);
        Some(id)
    }

    /// When the next prompt expires.
    pub(super) fn first_expiry(&self) -> Option<Duration> {
        self.expiries.front().map(|(expiry, _, _)| *expiry)
    }

    fn forget_taken(&mut self) {
        let by_key = &self.by_key;
        let taken = |(_, key, id): &mut (Duration, String, RequestId)| by_key.get(key) != Some(id);
        while self.expiries.pop_front_if(taken).is_some() {}
    }
}
