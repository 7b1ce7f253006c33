//! Which pod a session is bound to.
//!
//! A request on a route with `sessionSticky` goes through four steps:
//!
//! 1. [`SessionKey::of`] finds the session's key in the request; without one the request is placed like any other.
//! 2. [`StickyTable::get`] says what the session is bound to.
//! 3. [`Binding::preference`] says which of the candidates that may take a request that is: the pod itself, or its
//!    prefill/decode group if the pod is gone, or none.
//! 4. After a success [`StickyTable::settle`] binds the session to the pod that answered, for the route's time to live.
//!
//! # Invariants
//!
//! - A binding moves only if it is still what the request saw in step 2: of two requests that find their pod gone at
//!   the same time, the first to succeed decides, and the other one's session follows it.
//! - The table holds no keys, only hashes of them, and never more entries or bytes than its limits.
//! - Nothing is bound to a pod by a request that failed.
//!
//! # Where to go next
//!
//! `key` for where keys stand in requests, `table` for limits and time.

mod key;
mod table;

use std::sync::Arc;

pub use key::{LONGEST_KEY, RequestParts, SessionKey};
pub use table::{StickyCounts, StickyLimits, StickyTable};

/// What a session is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `namespace/name` of the model server the pod was chosen for.
    pub server: Arc<str>,
    /// Name of the pod that answered; the decode pod of a pair.
    pub pod: Arc<str>,
    /// Value of its prefill/decode group, whose pods may hold the session's cache too.
    pub group: Option<Arc<str>>,
}

/// Which candidates a binding speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// The one at this position.
    Pod(usize),
    /// Those at these positions: the pod is gone, its group is not.
    Group(Vec<usize>),
    /// None: the session will be bound anew.
    None,
}

impl Binding {
    /// Which of `candidates`, given by pod and group, the session belongs to. They are those of [`Self::server`] that
    /// may take a request now: filters and health have had their say.
    pub fn preference<'c>(
        &self,
        candidates: impl IntoIterator<Item = (&'c str, Option<&'c str>)>,
    ) -> Preference {
        let mut group = Vec::new();
        for (position, (pod, value)) in candidates.into_iter().enumerate() {
            if *pod == *self.pod {
                return Preference::Pod(position);
            }
            if value.is_some() && value == self.group.as_deref() {
                group.push(position);
            }
        }
        if group.is_empty() {
            Preference::None
        } else {
            Preference::Group(group)
        }
    }
}

#[cfg(test)]
mod tests;
