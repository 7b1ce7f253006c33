//! Cache events over real sockets into a real Redis.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod served;
mod sidecar;
mod support;
mod trouble;
