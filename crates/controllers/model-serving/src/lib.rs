//! Decides what must change for a `ModelServing` to become what its spec says.
//!
//! [`plan`] takes a [`ServingView`] of all it may look at, the [`Memory`] it returned last time and the [`Moment`],
//! and answers with actions, a status and events. Groups and roles are no API objects: they are read back from the
//! labels of pods, so that a restart of the controller loses nothing that matters.
//!
//! # Invariants
//!
//! - The same view, memory and time give the same plan.
//! - Only objects whose controller is this very `ModelServing` (by uid) are counted or touched.
//! - All names are deterministic, so that a plan made on stale knowledge cannot create anything twice.
//! - The snapshot of a revision comes before its first pod.
//! - A settled object gets no action and no status.
//!
//! # Where to go next
//!
//! `plan` is the order of decisions. `state` reads groups and roles from pods, `revision` decides what is up to
//! date, `pods`, `services` and `gang` render, `groups`, `roles`, `rollout` and `recovery` each decide one thing.

mod canonical;
mod gang;
mod groups;
mod memory;
mod moment;
mod names;
mod order;
mod plan;
mod plugins;
mod pods;
mod quantity;
mod recovery;
mod revision;
mod roles;
mod rollout;
mod services;
mod snapshots;
mod stall;
mod state;
mod status;
#[cfg(test)]
mod testing;
mod view;

pub use memory::Memory;
pub use moment::Moment;
pub use plan::{Action, Plan, plan};
pub use revision::{Blueprint, SnapshotContent};
pub use state::{GroupState, InstanceState, Lifecycle, describe};
pub use view::{
    GangSupport, PodGroupView, PodPhase, PodView, ServiceView, ServingView, SnapshotView,
};
