//! The server as kubectl and `kube::Client` see it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod durability;
mod kubectl;
mod logs;
mod network;
mod ownership;
mod support;
