//! The node agent with real processes against a real API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail the test that uses them"
)]

mod adoption;
mod containers;
mod logs;
mod placement;
mod probes;
mod storm;
mod support;
mod surroundings;
mod termination;
