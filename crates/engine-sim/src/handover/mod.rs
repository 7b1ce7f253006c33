//! How the two halves of a request meet when they run in different engines.
//!
//! Everything goes over HTTP between the engines. A decode engine opens an answer at the prefill
//! engine and holds it while it needs the blocks there; dropping it, for whatever reason, frees
//! them.
//!
//! - vLLM (NIXL, Mooncake): the prefill half is over when the decode half begins. The first keeps
//!   its blocks under a key that travels through the router; the second comes for them with it.
//! - SGLang: both halves run at the same time and meet in a room, whichever comes first.

mod fetch;
mod rooms;

pub(crate) use fetch::{FetchError, fetch};
pub(crate) use rooms::Rooms;

/// Where blocks kept under a key are fetched.
pub(crate) const BLOCKS: &str = "/sim/blocks";
/// Where halves meet.
pub(crate) const ROOMS: &str = "/sim/rooms";
