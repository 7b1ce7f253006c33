//! A fleet of engines under load, in virtual time: the scheduler that is shipped in front of the
//! engine model of `kthena-engine-sim`.
//!
//! Nothing here reads a clock or draws from a hidden source: the same seed gives the same figures,
//! and an hour of traffic takes a second.
//!
//! # Parts
//!
//! - [`workload`]: who asks for what, and when.
//! - [`policy`]: the configurations that are compared.
//! - [`run`]: one policy under one workload; [`split`] compares whole engines with pairs.
//! - [`report`]: tables, JSON, plots.
//!
//! # Where to go next
//!
//! [`setting`] for what is assumed of engines and routers and why, `run` for how they are joined.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a model: counts of tokens and requests fit in 32 bits"
)]

mod figures;
mod fleet;
pub mod policy;
mod queue;
pub mod report;
mod router;
pub mod run;
pub mod setting;
pub mod split;
mod tokens;
pub mod trace;
pub mod workload;

pub use tokens::words;

#[cfg(test)]
mod tests;
