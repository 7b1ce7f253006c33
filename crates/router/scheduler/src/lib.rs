//! Decides which endpoints serve a request, best first.
//!
//! A [`Profile`] lets its [`Filter`]s take out candidates, asks its [`Scorer`]s to mark the others, adds the marks up
//! by weight and keeps the best few. Once a request goes out, its [`Recorder`]s are told, and hear of its end through
//! the [`Dispatch`] they gave. Nothing waits or reads a clock here: hot numbers are atomics inside the [`Endpoint`].
//!
//! # Invariants
//!
//! - A placement names each candidate at most once and is empty only if there were none.
//! - A candidate that no scorer marked counts 0 and stays selectable.
//! - Equal totals are settled by the caller's random source, so cold traffic spreads and a seed replays it.
//! - An endpoint's count of requests in flight falls when the [`InFlight`] guard that raised it drops, and only then.
//! - Every dispatched request ends once for every recorder, whatever happens to the task that serves it.
//!
//! # Where to go next
//!
//! [`plugin`] for the traits a policy implements, [`facts`] for what it may look at, [`placement`] for how the best are
//! kept, [`watch`] for how a decision is timed and explained. The policies themselves are in the plugins crate.

pub mod candidates;
pub mod dispatch;
pub mod endpoint;
pub mod facts;
mod highest;
pub mod notes;
pub mod placement;
pub mod plugin;
pub mod sample;
pub mod watch;

pub use candidates::{Candidates, Reading};
pub use dispatch::Dispatch;
pub use endpoint::{Candidate, Endpoint, EndpointId, InFlight, PodIdentity};
pub use facts::{KvBlocks, KvIndex, KvQuery, PromptText, RequestFacts, Role};
pub use highest::highest;
pub use notes::{Notes, PluginEvent};
pub use placement::{Pick, PlaceError, Placement, Profile};
pub use plugin::{End, Figure, Filter, Outcome, Receipt, Recorder, Score, Scorer};
pub use sample::{ModelSet, Sample};
pub use watch::{Seen, Step, StepKind, Trace, Watch};
