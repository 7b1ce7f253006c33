//! HTTP/1.1 as bytes: heads are parsed into positions, bodies are walked, nothing is decoded that is only passed on.
//!
//! # Invariants
//!
//! - A message whose length two readers could see differently is refused, never passed on.
//! - Positions refer to the buffer the head was parsed from; the buffer is kept as long as they are.

pub(crate) mod chunks;
pub(crate) mod fields;
pub(crate) mod request;
pub(crate) mod response;
