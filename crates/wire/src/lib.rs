//! The OpenAI-compatible bodies that clients, router and engines exchange, as plain values.
//!
//! This crate decides how a body is spelled: names, member order, what may be absent. It does not
//! decide what a value means; engines and the router do.
//!
//! # Invariants
//!
//! - A member this crate does not know survives a decode and an encode (`extra`).
//! - [`sse::Decoder`] yields the same events whatever the chunks its input arrives in, and holds
//!   no more than its limit.
//!
//! # Where to go next
//!
//! [`error_body`] for what a client sees when something fails, [`sse`] for streams. The router's
//! hot path patches bytes and does not decode bodies with these types.

pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod error_body;
pub mod models;
pub mod sampling;
pub mod sse;
pub mod usage;

pub use error_body::ErrorBody;
pub use usage::Usage;

/// Members of a JSON object that no type here names, kept for pass-through.
pub type Extra = serde_json::Map<String, serde_json::Value>;
