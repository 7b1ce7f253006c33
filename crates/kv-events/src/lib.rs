//! What engines say they cached, and the indexes kept of it.
//!
//! [`events`] is the pure codec between an engine's messages and values.

pub mod block_hash;
pub mod events;
pub mod index;
pub mod redis;
pub mod shared_index;
pub mod subscriber;
