//! Plans one Deployment: which `ReplicaSet` carries its template, how large each of its `ReplicaSet`s shall be.
//!
//! A plan is one step; the writes it causes bring the next look. A rolling update first adds new pods as far as
//! `maxSurge` allows, then takes away old ones as far as `maxUnavailable` allows.
//!
//! # Invariants
//!
//! - The pods of all sets together never exceed `replicas + maxSurge` by what a plan adds.
//! - A rolling update never takes away a pod that availability still needs.
//! - A `ReplicaSet` is recognised by its template, not by its hash, so another program's sets are taken over.
//!
//! # Where to go next
//!
//! `sets` finds and makes the set of the present template, `rollout` sizes the sets, `status` reports.

mod rollout;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

pub use sets::{HASH_LABEL, REVISION};

/// What the planner may look at.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// The `ReplicaSet`s it owns.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// The pods of those sets.
    pub pods: Vec<Arc<Pod>>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum DeploymentAction {
    /// Make the set of the present template.
    Create(Box<ReplicaSet>),
    /// Give a set this number of replicas.
    Scale {
        /// Name of the set.
        set: String,
        /// The new number.
        replicas: i32,
    },
    /// Say which revision a set is.
    MarkSet {
        /// Name of the set.
        set: String,
        /// The number of the revision.
        revision: i64,
    },
    /// Say which revision the Deployment is at.
    MarkDeployment {
        /// The number of the revision.
        revision: i64,
    },
    /// Keep a set's `minReadySeconds` at that of the Deployment.
    SetMinReady {
        /// Name of the set.
        set: String,
        /// The new number of seconds.
        seconds: i32,
    },
    /// Delete a set that is beyond the history limit.
    Delete {
        /// Name of the set.
        set: String,
        /// Its uid.
        uid: String,
    },
}

/// What must be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeploymentPlan {
    /// Writes, in order.
    pub actions: Vec<DeploymentAction>,
    /// The status to write, if it differs from the present one.
    pub status: Option<DeploymentStatus>,
    /// When the plan can change without any event.
    pub again_in: Option<Duration>,
}

/// The sets of a view, told apart.
struct Sets<'a> {
    /// Carries the present template.
    new: Option<&'a ReplicaSet>,
    /// All others, oldest first.
    old: Vec<&'a ReplicaSet>,
}

/// Lists the next step.
pub fn plan(view: &DeploymentView, now: Timestamp) -> DeploymentPlan {
    let deployment = &view.deployment;
    let sets = sets::sort(deployment, &view.sets);
    let (status, again_in) = status::status(deployment, &sets, now);
    let status = (!status::same(deployment.status.as_ref(), &status)).then_some(status);
    if deployment.metadata.deletion_timestamp.is_some() || deployment.spec.is_none() {
        return DeploymentPlan {
            status,
            ..DeploymentPlan::default()
        };
    }
    let mut actions = sets::marks(deployment, &sets);
    actions.extend(if is_paused(deployment) {
        rollout::scale_while_paused(deployment, &sets)
    } else if rollout::recreates(deployment) {
        rollout::recreate(view, &sets)
    } else {
        rollout::roll(deployment, &sets)
    });
    if actions.is_empty() && status::is_complete(deployment, &sets) {
        actions = sets::beyond_history(deployment, &sets);
    }
    DeploymentPlan {
        actions,
        status,
        again_in,
    }
}

fn is_paused(deployment: &Deployment) -> bool {
    deployment
        .spec
        .as_ref()
        .is_some_and(|spec| spec.paused == Some(true))
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Pods of a set that can be counted on: reported available, and not about to be taken away.
fn available(set: &ReplicaSet) -> i32 {
    let reported = set
        .status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0);
    reported.min(replicas(set))
}

fn name(set: &ReplicaSet) -> String {
    set.metadata.name.clone().unwrap_or_default()
}
