//! The engines' side: connections, requests out, heads of answers in.
//!
//! # Invariants
//!
//! - A connection that an answer was not read from to its end is closed, never reused.
//! - A request is sent again on a fresh connection only if a reused one died before the first byte of an answer.

mod ask;
mod body;
mod outgoing;
mod pool;

pub(crate) use ask::{Answer, ask};
pub(crate) use body::{Keep, collect, first_byte};
pub(crate) use outgoing::Outgoing;
pub(crate) use pool::Pool;
