//! The router over real sockets, with engines that do what a test tells them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the report; helpers are not marked as tests"
)]

mod answers;
mod cached;
mod client;
mod cluster;
mod debug;
mod drain;
mod engine;
mod errors;
mod explain;
mod faults;
mod health;
mod http2;
mod limits;
mod logs;
mod pairs;
mod panics;
mod queues;
mod requests;
mod sessions;
mod setup;
mod simulated;
mod streams;
mod tls;
