//! The engines' side: connections, requests out, heads of answers in.
//!
//! # Invariants
//!
//! - A connection that an answer was not read from to its end is closed, never reused.
//! - A request is sent again on a fresh connection only if a reused one died before the first byte of an answer.
//! - A request that is to go out in TLS goes out in TLS to an engine that proved who it is, or not at all.

mod ask;
mod body;
mod dial;
mod outgoing;
mod pool;
mod stream;

pub(crate) use ask::{Answer, Upstream, ask};
pub(crate) use body::{Keep, collect, first_byte};
pub(crate) use dial::dial;
pub(crate) use outgoing::Outgoing;
pub(crate) use pool::Pool;
pub(crate) use stream::EngineStream;
