//! What routers of one fleet tell each other through Redis.
//!
//! - [`counts`]: how many requests each router has in flight on each pod, in the layout that earlier releases use.
//! - [`consumption`]: what each user has consumed of each model, for queues that are fair over the whole fleet.
//!
//! Both are tasks of their own. A request never waits for Redis: it moves counters in memory, the tasks carry them
//! over in batches and bring back what the others say.
//!
//! # Invariants
//!
//! - Every value a router publishes is absolute and under its own name, so that sending it twice, or after Redis has
//!   lost everything, leads to the same.
//! - Without Redis, and with one that is slow, read-only or full, a router goes by what it knows itself; once Redis
//!   works again, the shared state is right after one heartbeat without anybody doing anything.
//! - What a router that died has published disappears when its lease ends.
//!
//! # Where to go next
//!
//! [`config`] for the settings, `link` for the connection and its failures.

pub mod config;
pub mod consumption;
pub mod counts;
mod link;

pub use config::{RedisConfig, SharingConfig};
pub use consumption::SharedConsumption;
pub use counts::{Demand, SharedCounts};
pub use link::LinkState;
