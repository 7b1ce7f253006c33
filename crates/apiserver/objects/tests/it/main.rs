//! Replays transcripts of a real API server against the store.

mod replay;
mod request;
mod transcripts;
