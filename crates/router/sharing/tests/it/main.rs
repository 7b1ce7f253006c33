//! Routers that share state, against a real Redis.

#![expect(clippy::unwrap_used, reason = "a step that fails ends its test")]

mod consumption;
mod counts;
mod failures;
mod model;
mod support;
