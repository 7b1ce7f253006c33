//! The controllers that a cluster brings along and local mode needs as well: Deployments, `ReplicaSet`s and the
//! endpoint slices of Services.
//!
//! A planner per kind is a pure function of what is there; one shell watches, asks the planner and writes.
//!
//! # Invariants
//!
//! - Names are made from content, so a view that lags behind cannot create an object twice.
//! - Availability is counted on what pods report, at the moment given to the planner.
//! - Nothing but the API server remembers anything: a new start continues where the last one stopped.
//!
//! # Where to go next
//!
//! [`deployment`], [`replica_set`] and [`endpoint_slice`] plan; [`run`] starts the shell.

pub mod deployment;
pub mod endpoint_slice;
mod identity;
mod observe;
mod pods;
pub mod replica_set;
mod selector;
mod shell;
mod world;

pub use shell::run;
