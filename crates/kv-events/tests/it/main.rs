//! Cache events over real sockets into a real Redis.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod sidecar;
mod support;
