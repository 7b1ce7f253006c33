//! Everything the program says to Kubernetes: connecting, watching, queueing, writing, events, leader election.
//!
//! There is one client type, [`kube::Client`]. In a cluster it speaks to the API server, in local mode to the
//! in-process one; nothing here knows which.
//!
//! # Invariants
//!
//! - A watch never ends and never lets one object that cannot be decoded hide the others.
//! - One key is worked on by one worker at a time, and a key added meanwhile is worked on again.
//! - Writing helpers answer with a [`WriteError`] that names what a caller decides on; they never retry by themselves.
//!
//! # Where to go next
//!
//! [`watch()`] and [`Store`] for reading, [`queue::WorkQueue`] for the loop around it, [`write`] for the way back.

pub mod client;
pub mod events;
mod head;
pub mod lease;
pub mod queue;
mod store;
mod target;
mod throttle;
pub mod watch;
pub mod write;

pub use client::{ClientConfig, ClientError, connect};
pub use store::Store;
pub use target::{ObjectKey, Target};
pub use throttle::RequestRate;
pub use watch::{Change, Scope, watch, watch_dynamic, watch_partial};
pub use write::WriteError;
