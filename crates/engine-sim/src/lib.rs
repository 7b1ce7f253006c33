//! A simulated inference engine: it speaks vLLM's and SGLang's HTTP API, takes the time a real one
//! would take on a named GPU, and computes nothing.
//!
//! It decides when a token comes out and what the engine says about itself; the text is made up, but
//! the same prompt always gets the same answer.
//!
//! # Parts
//!
//! - Pure: [`model`] times steps, [`kv_cache`] keeps blocks, [`batch`] forms batches, [`text`] makes
//!   tokens and answers, [`config`] reads an engine's command line. No clock, no socket, no runtime:
//!   the same code runs in virtual time.
//! - Shell: `core` runs the batch loop in real time, `http` serves it, `handover` lets two engines
//!   share a request, `kv_publisher` says what the cache holds, [`metrics`] tells about the rest,
//!   [`faults`] breaks it on demand.
//!
//! # Where to go next
//!
//! [`serve`] on a listener, or [`run`] as a process would; [`batch::Engine`] to simulate without
//! either.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a model: counts of tokens and blocks fit in 32 bits, times need no 52 bits"
)]

pub mod batch;
pub mod config;
mod core;
pub mod faults;
mod handover;
mod http;
pub mod kv_cache;
mod kv_publisher;
pub mod metrics;
pub mod model;
pub mod text;

pub use config::{ArgsWarning, EngineArgsError, EngineConfig};
pub use http::{EngineError, run, serve};
