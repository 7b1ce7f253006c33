//! What may hold a request back before it is placed, and what binds it to a pod: limits, queues and their accounts,
//! sessions.
//!
//! - [`queue`]: who waits, in which order, and when the next may go. One queue per model.
//! - [`rate`]: how many tokens a model may take and give per unit of time.
//! - [`tokens`]: what each user has consumed of late, which is what fairness orders by.
//! - [`sticky`]: which pod a session is bound to.
//! - [`settings`]: their settings as environment variables write them.
//!
//! Nothing here knows an async runtime: time comes from a [`Clock`] that the caller gives, waiting is a
//! [`std::future::Future`] woken through [`std::task`].
//!
//! # Invariants
//!
//! - A request that waits is either admitted, which takes a permit, or ended; decided once, under the queue's lock.
//! - Whatever way a request ends, its permit is given back, and every count returns to what it was.
//! - User ids and session ids leave this crate only as hashes or towards the caller who brought them.
//!
//! # Where to go next
//!
//! [`queue::Queues`] is what the proxy holds.

pub mod queue;
pub mod rate;
pub mod settings;
pub mod sticky;
pub mod tokens;
mod values;

use std::sync::Arc;
use std::time::Instant;

/// A moment on the two clocks that queues need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub monotonic: Instant,
    /// Whole seconds since 1970, for windows that several routers share.
    pub unix: u64,
}

/// Where the moment comes from. Permits are given back when they drop, where no caller can pass it.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;
