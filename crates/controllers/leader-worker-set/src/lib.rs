//! Decides what a `LeaderWorkerSet` becomes: one `ModelServing` of the same name, and a status that tells how it does.
//!
//! [`plan`] takes a [`SetView`] of all it may look at and the time, and answers with at most one write of the
//! `ModelServing`, a status and events. Groups, pods and rollouts are the business of the planner of `ModelServing`s.
//!
//! # Invariants
//!
//! - The same view and time give the same plan; a settled view gives none.
//! - A `ModelServing` that does not name this very set (by uid) as an owner is never touched.
//! - Only fields that follow from the set are written, and of those only the ones that differ once all defaults are
//!   filled in. What a user sets beside them stays, such as a pause of the rollout.
//! - What is asked for and has no counterpart is named in a condition and in events, each with a way out.
//! - A set that another controller serves already is left alone.
//!
//! # Where to go next
//!
//! `translate` says what becomes what, `unsupported` what does not, `owned` compares and makes patches, `status` is
//! the way back, `plan` the order of decisions.

mod object;
mod owned;
mod plan;
mod status;
mod translate;
mod unsupported;
mod view;

#[cfg(test)]
mod testing;

pub use object::{LeaderWorkerSet, LeaderWorkerSetStatus};
pub use plan::{Plan, ServingWrite, plan, refused};
pub use view::SetView;

/// Name of the definition that makes a cluster serve `LeaderWorkerSet`s.
pub const DEFINITION: &str = "leaderworkersets.leaderworkerset.x-k8s.io";
