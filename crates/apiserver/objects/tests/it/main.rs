//! Replays transcripts of a real API server against the store.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a broken transcript or a failing test"
)]

mod replay;
mod request;
mod transcripts;
