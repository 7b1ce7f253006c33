//! What is worked out about one request and used more than once.
//!
//! A prompt is hashed once, however many lists of candidates are scored for it, and what plugins have to tell about
//! their work is collected here: they count no metrics themselves.

use std::any::Any;
use std::cell::RefCell;

use smallvec::SmallVec;

/// A request's notes. They belong to the request from its first decision to its end.
#[derive(Default)]
pub struct Notes {
    values: RefCell<SmallVec<[Box<dyn Any + Send>; 2]>>,
    events: RefCell<SmallVec<[PluginEvent; 2]>>,
}

/// What a plugin has to tell about one decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PluginEvent {
    /// `prefix-cache` looked for the prompt: the best candidate's share of it, 0 to 1.
    PrefixMatch(f64),
    /// `kvcache-aware` looked for the prompt: the best candidate's share of it, 0 to 1.
    KvMatch(f64),
    /// `adaptive` expects the first token of the best candidate after so many seconds.
    Estimate(f64),
}

impl Notes {
    /// Calls `read` with the value of type `T`, which `make` makes if there is none yet.
    pub fn with<T: Any + Send, R>(
        &self,
        make: impl FnOnce() -> T,
        read: impl FnOnce(&mut T) -> R,
    ) -> R {
        // Taken out while it is used, so that `make` and `read` may use the notes too.
        let kept = {
            let mut values = self.values.borrow_mut();
            let at = values.iter().position(|value| value.is::<T>());
            at.and_then(|at| values.swap_remove(at).downcast::<T>().ok())
        };
        let mut value = kept.unwrap_or_else(|| Box::new(make()));
        let result = read(&mut value);
        self.values.borrow_mut().push(value);
        result
    }

    /// Tells something.
    pub fn tell(&self, event: PluginEvent) {
        self.events.borrow_mut().push(event);
    }

    /// Everything that was told since the last call.
    pub fn take_events(&self) -> SmallVec<[PluginEvent; 2]> {
        self.events.take()
    }
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes")
            .field("events", &self.events.borrow())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
