//! The versioned objects behind the in-process Kubernetes API server, without any input or output.
//!
//! A [`Store`] holds JSON objects as serialized bytes with a little metadata beside them. A write is
//! planned against the store ([`Store::plan_create`], [`Store::plan_update`], [`Store::plan_delete`]),
//! made durable by the caller, then taken over with [`Store::commit`], which also appends it to the
//! bounded log that watches read. Nothing here waits, locks, draws random numbers or reads a clock:
//! the caller passes the time, the uid and a seed.
//!
//! # Invariants
//!
//! - One counter numbers all changes; a plan is only good for the version it was made at.
//! - An [`Object`]'s metadata always agrees with its bytes.
//! - Readers never see a change that was not committed.
//!
//! # Where to go next
//!
//! [`store`] for reads, [`write`] for the rules of a write, [`watch_log`] for watches, [`patch`] and
//! [`ownership`] for the four patch formats, [`garbage`] for owner references, [`table`] for
//! `kubectl get`, [`validate`] for names and metadata, [`error`] for what a client is told.

pub mod error;
pub mod garbage;
pub mod meta;
pub mod object;
pub mod ownership;
pub mod patch;
pub mod resource;
pub mod selector;
pub mod store;
pub mod table;
#[cfg(test)]
mod testing;
pub mod validate;
pub mod watch_log;
pub mod write;

pub use error::{ApiError, Fault, FaultKind};
pub use object::{Object, ObjectKey, OwnerRef};
pub use resource::{GroupResource, Resource, Scope};
pub use selector::{FieldSelector, LabelSelector};
pub use store::{ListPage, ListQuery, Store, VersionRule};
pub use watch_log::{WatchEvent, WatchEventType, WatchQuery, WatchStart};
pub use write::{Change, ChangeKind, Create, Delete, DeleteOptions, Planned, Update};
