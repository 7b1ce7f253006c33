//! One engine's blocks, told to everyone through Redis: what the sidecar of a pod does.
//!
//! The [`Ledger`] is the truth: what the engine's events say it holds. Redis is a copy of it. A
//! write that fails costs nothing but time: the copy is compared with the ledger and put right once
//! Redis is back, so nothing has to wait in a queue that grows.
//!
//! # Invariants
//!
//! - Keys, fields and values that routers read, and those earlier sidecars wrote, keep their form
//!   ([`Keys`]).
//! - A field says that this owner holds the block exactly as long as at least one of the owner's
//!   blocks has these tokens.
//! - After a gap in the engine's messages, or a restart, nothing is claimed that was not said since.
//!
//! # Where to go next
//!
//! [`listen`] hears the engine, [`Writer`] keeps the copy, [`keys`] has the layout.

mod keys;
mod ledger;
mod listen;
mod store;
mod writer;

use std::time::Duration;

pub use keys::Keys;
pub use ledger::{Change, Ledger};
pub use listen::{Heard, ListenConfig, listen};
pub use store::{RedisAddress, Store, StoreError};
pub use writer::{Writer, WriterConfig};

/// How long an entry counts without being written again; routers use the same.
pub const LIFETIME: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests;
