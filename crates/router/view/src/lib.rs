//! Turns watch events into what a request may look at.
//!
//! A [`View`] takes in routes, model servers and pods one by one and gives out immutable [`Snapshot`]s. A request
//! keeps the snapshot it began with.
//!
//! # Invariants
//!
//! - Membership is a function of the ready pods and the model servers that exist, whatever the order of events.
//! - An [`kthena_router_scheduler::Endpoint`] lives as long as its pod is ready: updates keep its counters, another
//!   UID or a return from not-ready starts from zero.
//! - A snapshot never changes; what did not change is shared with the one before.
//!
//! # Where to go next
//!
//! [`pods`] for what is read of a pod, [`servers`] for who belongs to whom, [`state`] for the events.

pub mod budget;
pub mod cache_events;
pub mod pods;
pub mod servers;
pub mod snapshot;
pub mod state;

pub use budget::{ExtraAttempt, RetryBudget};
pub use cache_events::CacheEvents;
pub use pods::{PodFacts, PodObject};
pub use servers::{Attempts, Group, Members, Roles, ServerView};
pub use snapshot::Snapshot;
pub use state::View;
