//! What the planner must know from earlier passes and cannot read from the cluster.
//!
//! Losing it is harmless: a started deletion is seen from its terminating pods, missing pods are created, and
//! grace periods begin anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Carried from one plan to the next. Belongs to one uid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// A pass has been made; what terminates now was not necessarily meant to.
    pub(crate) is_warm: bool,
    /// Groups that are being deleted, until nothing of them is left.
    pub(crate) leaving_groups: BTreeSet<String>,
    /// Role instances that are being deleted, by group and role id.
    pub(crate) leaving_instances: BTreeSet<(String, String)>,
    /// Pods seen alive that nobody meant to delete, by uid. One that vanishes was lost.
    pub(crate) pods: BTreeMap<String, PodMark>,
    /// Instances that were Running, so that reaching it is told once.
    pub(crate) running: BTreeSet<(String, String)>,
    /// Since when a pod has failed, by uid; on the steady clock of [`Moment`](crate::Moment).
    pub(crate) failing: BTreeMap<String, Duration>,
    /// How often an instance was rebuilt because it failed, since it was last Running.
    pub(crate) rebuilds: BTreeMap<(String, String), u32>,
    /// A rollout made groups beyond the wanted number, and is not finished.
    pub(crate) is_surging: bool,
    /// How far the rollout was and since when, while it is not finished.
    pub(crate) progress: Option<Progress>,
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) revision: String,
    pub(crate) updated: i32,
    pub(crate) available: i32,
    /// On the steady clock.
    pub(crate) since: Duration,
}

/// A pod as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodMark {
    pub(crate) group: String,
    pub(crate) role: String,
    pub(crate) role_id: String,
    /// Restarts when it was last seen ready: these have been forgiven.
    pub(crate) forgiven_restarts: u32,
}
