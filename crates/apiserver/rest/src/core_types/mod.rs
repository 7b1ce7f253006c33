//! What the API server knows about the built-in types beyond their schemas: defaults, checks, what creation sets.
//!
//! # Invariants
//!
//! - Rules here are pure functions of the old and the new object.
//! - They run on objects whose JSON types the schema has checked, but never panic on others.
//!
//! # Where to go next
//!
//! [`defaults`] and [`pod_spec`] fill, [`settle`] sets what only the server may, [`check`] refuses.

pub(crate) mod check;
pub(crate) mod defaults;
pub(crate) mod json;
pub(crate) mod pod_spec;
pub(crate) mod settle;

#[cfg(test)]
mod tests;
