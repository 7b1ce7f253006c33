//! The engine over HTTP: what a real client sees.

#![expect(clippy::float_cmp, reason = "counts in metrics are whole numbers")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

mod adapters;
mod answers;
mod dialects;
mod faults;
mod fixtures;
mod halves;
mod kv_events;
mod lifecycle;
mod shape;
mod support;
