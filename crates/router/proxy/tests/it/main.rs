//! The router over real sockets, with engines that do what a test tells them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the report; helpers are not marked as tests"
)]

mod accounting;
mod answers;
mod cached;
mod client;
mod cluster;
mod crowded;
mod deadline;
mod debug;
mod drain;
mod engine;
mod engine_tls;
mod errors;
mod explain;
mod farewell;
mod faults;
mod heads;
mod health;
mod http2;
mod limits;
mod logs;
mod pairs;
mod panics;
mod queues;
mod rates;
mod requests;
mod routing;
mod sessions;
mod setup;
mod shared_cache;
mod silence;
mod simulated;
mod startup;
mod streams;
mod tls;
mod turns;
