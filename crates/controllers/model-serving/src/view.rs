//! Everything the planner may look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use kthena_api::model_serving::ModelServing;
use serde_json::Value;

use crate::revision::{Blueprint, SnapshotContent};

/// One `ModelServing` and the objects that carry its labels, as last seen.
#[derive(Debug, Clone)]
pub struct ServingView {
    /// The object itself.
    pub serving: Arc<ModelServing>,
    /// Its roles in canonical form; belongs to the generation of `serving`.
    pub blueprint: Arc<Blueprint>,
    /// Pods with its name label, whoever owns them.
    pub pods: Vec<Arc<PodView>>,
    /// Services with its name label, whoever owns them.
    pub services: Vec<Arc<ServiceView>>,
    /// `ControllerRevision`s with its name label, whoever owns them.
    pub snapshots: Vec<Arc<SnapshotView>>,
    /// `PodGroup`s with its name label, whoever owns them.
    pub pod_groups: Vec<Arc<PodGroupView>>,
    /// What the cluster knows about gangs; `None` if it has no `PodGroup`s.
    pub gang: Option<GangSupport>,
}

/// What the cluster's `PodGroup`s can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GangSupport {
    /// Their schema has `subGroupPolicy`.
    pub has_sub_groups: bool,
}

/// A Volcano `PodGroup`, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodGroupView {
    /// Name.
    pub name: String,
    /// Unique identity.
    pub uid: String,
    /// Uid of the controlling owner, empty if there is none.
    pub owner: String,
    /// Serving group it stands for.
    pub group: String,
    /// It is being deleted.
    pub is_terminating: bool,
    /// Its spec.
    pub spec: Value,
    /// Why the scheduler cannot place it, empty if it can or has not said.
    pub unplaced: String,
}

/// A pod, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// Unique identity.
    pub uid: String,
    /// Uid of the controlling owner, empty if there is none.
    pub owner: String,
    /// Serving group it belongs to.
    pub group: String,
    /// Role it belongs to.
    pub role: String,
    /// Role instance it belongs to.
    pub role_id: String,
    /// Revision it was made from.
    pub revision: String,
    /// Hash of the role template it was made from.
    pub role_hash: String,
    /// It is being deleted.
    pub is_terminating: bool,
    /// Where it is in its life.
    pub phase: PodPhase,
    /// Its Ready condition is true.
    pub is_ready: bool,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// What its deletion costs.
    pub deletion_cost: i64,
    /// What keeps it from being ready, in one word such as `ImagePullBackOff`; empty if nobody says.
    pub waiting: String,
    /// The first of its finalizers, empty if there is none.
    pub finalizer: String,
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PodPhase {
    /// Not all containers have been started.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// At least one container failed and none will be started again.
    Failed,
}

/// A service, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// Name.
    pub name: String,
    /// Unique identity.
    pub uid: String,
    /// Uid of the controlling owner, empty if there is none.
    pub owner: String,
    /// Serving group it belongs to.
    pub group: String,
    /// Role it belongs to.
    pub role: String,
    /// Role instance it belongs to.
    pub role_id: String,
    /// It is being deleted.
    pub is_terminating: bool,
}

/// A ControllerRevision: the roles as they were at a revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SnapshotView {
    /// Name.
    pub name: String,
    /// Unique identity.
    pub uid: String,
    /// Uid of the controlling owner, empty if there is none.
    pub owner: String,
    /// The revision it stands for.
    pub revision: String,
    /// The higher, the later it was wanted, if revisions are kept for longer than they are used; else 1.
    pub number: i64,
    /// It is being deleted.
    pub is_terminating: bool,
    /// The roles, `None` if the data cannot be read.
    pub content: Option<SnapshotContent>,
    /// Role counts last seen while this was the update revision; they win over those in the data.
    pub role_replicas: BTreeMap<String, i32>,
    /// Hashes that another controller gave to these roles: pods that carry one are built from the role.
    pub role_hashes: BTreeMap<String, String>,
}

impl PodView {
    /// Running and ready.
    pub fn is_serving(&self) -> bool {
        self.phase == PodPhase::Running && self.is_ready && !self.is_terminating
    }
}

impl ServingView {
    pub(crate) fn name(&self) -> &str {
        self.serving.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.serving
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.serving.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Groups that the spec asks for.
    pub(crate) fn wanted_groups(&self) -> i32 {
        self.serving.spec.replicas.unwrap_or(1).max(0)
    }

    pub(crate) fn owned_pods(&self) -> impl Iterator<Item = &Arc<PodView>> {
        self.pods.iter().filter(|pod| pod.owner == self.uid())
    }

    pub(crate) fn owned_services(&self) -> impl Iterator<Item = &Arc<ServiceView>> {
        self.services
            .iter()
            .filter(|service| service.owner == self.uid())
    }

    pub(crate) fn owned_pod_groups(&self) -> impl Iterator<Item = &Arc<PodGroupView>> {
        self.pod_groups
            .iter()
            .filter(|gang| gang.owner == self.uid())
    }

    pub(crate) fn owned_snapshots(&self) -> impl Iterator<Item = &Arc<SnapshotView>> {
        self.snapshots
            .iter()
            .filter(|snapshot| snapshot.owner == self.uid())
    }
}

impl SnapshotView {
    /// Role counts that go with this revision.
    pub(crate) fn recorded_replicas(&self) -> BTreeMap<String, i32> {
        let mut counts = self
            .content
            .as_ref()
            .map(SnapshotContent::replicas)
            .unwrap_or_default();
        for (role, count) in &self.role_replicas {
            if let Some(recorded) = counts.get_mut(role) {
                *recorded = *count;
            }
        }
        counts
    }
}
