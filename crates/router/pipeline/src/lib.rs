//! The order of work on a request, without sockets.
//!
//! [`body`] reads what is needed from the body's bytes by position, [`plan`] turns that into a destination with
//! candidates and body edits, [`attempts`] says after every answer or fault whether it is the client's or another
//! candidate is tried. [`error`] is the one table of what a client sees when nothing can be served.
//!
//! # Invariants
//!
//! - The body is scanned once and never decoded into a tree; what is not edited reaches the engine byte for byte.
//! - Every failure is a [`RouteError`]; its status, body, log type and metric label come from one method.
//! - Each candidate is tried at most once, and none after bytes reached the client.
//!
//! # Where to go next
//!
//! The proxy crate drives these pieces with real connections.

pub mod attempts;
pub mod body;
pub mod edits;
pub mod error;
pub mod explanation;
pub mod job;
mod json;
pub mod path;
pub mod placing;
pub mod plan;
mod prompt;
mod stopwatch;

pub use attempts::{Attempt, AttemptPlan, Pair, Slot, UpstreamFault, Verdict};
pub use body::BodyFacts;
pub use edits::Edits;
pub use error::{ErrorStyle, Outcome, RouteError};
pub use explanation::Explanation;
pub use job::{Job, Prior};
pub use json::{JsonFault, JsonProblem};
pub use path::ApiPath;
pub use placing::{Placing, health_of};
pub use plan::{Matched, MatchedRule, Means, Plan, Request, Way, select};
pub use prompt::{Message, PromptFacts, PromptReader};
