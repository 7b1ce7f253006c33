//! Decides which endpoints serve a request, best first.
//!
//! A [`Profile`] asks its [`Scorer`]s to mark every candidate, adds the marks up by weight and keeps the best few.
//! Nothing waits, locks or reads a clock here: hot numbers are atomics inside the [`Endpoint`].
//!
//! # Invariants
//!
//! - A placement names each candidate at most once and is empty only if there were none.
//! - Equal totals are settled by the caller's random source, so cold traffic spreads and a seed replays it.
//! - An endpoint's count of requests in flight falls when the [`InFlight`] guard that raised it drops, and only then.
//!
//! # Where to go next
//!
//! [`plugin`] for the trait a policy implements, [`placement`] for how the best are kept.

pub mod endpoint;
pub mod least_requests;
pub mod placement;
pub mod plugin;

pub use endpoint::{Candidate, Endpoint, InFlight, PodIdentity};
pub use least_requests::LeastRequests;
pub use placement::{Placement, Profile};
pub use plugin::{RequestFacts, Score, Scorer};
