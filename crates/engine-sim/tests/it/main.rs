//! The engine over HTTP: what a real client sees.

#![allow(clippy::float_cmp, reason = "counts in metrics are whole numbers")]

mod adapters;
mod answers;
mod dialects;
mod faults;
mod fixtures;
mod lifecycle;
mod shape;
mod support;
