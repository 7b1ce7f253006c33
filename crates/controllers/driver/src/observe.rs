//! What is read of each object; everything else is skipped while its JSON is parsed.

use std::collections::BTreeMap;

use kthena_api::labels;
use kthena_cluster::ObjectKey;
use kthena_cluster::watch::Named;
use kthena_controllers_model_serving::{
    PodPhase, PodView, ServiceView, SnapshotContent, SnapshotView,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// An object of ours in a namespace, and the `ModelServing` it names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed<V> {
    pub(crate) key: ObjectKey,
    /// Name of the `ModelServing` in its label; the owner may be another.
    pub(crate) serving: ObjectKey,
    pub(crate) view: Arc<V>,
}

/// A pod, read sparsely.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RawPod")]
pub(crate) struct ObservedPod(pub(crate) Observed<PodView>);

/// A service, read sparsely.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RawObject")]
pub(crate) struct ObservedService(pub(crate) Observed<ServiceView>);

/// A `ControllerRevision` with its data decoded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RawSnapshot")]
pub(crate) struct ObservedSnapshot(pub(crate) Observed<SnapshotView>);

/// An object that belongs to a `ModelServing`.
pub(crate) trait Part: Named + Send + Sync + 'static {
    /// What the planner sees of it.
    type View: PartialEq + Send + Sync;
    /// The object without its wrapper.
    fn observed(&self) -> &Observed<Self::View>;
}

macro_rules! part {
    ($kind:ident, $view:ty) => {
        impl Named for $kind {
            fn key(&self) -> ObjectKey {
                self.0.key.clone()
            }
        }

        impl Part for $kind {
            type View = $view;

            fn observed(&self) -> &Observed<Self::View> {
                &self.0
            }
        }
    };
}

part!(ObservedPod, PodView);
part!(ObservedService, ServiceView);
part!(ObservedSnapshot, SnapshotView);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    name: String,
    namespace: String,
    uid: String,
    labels: Option<RawLabels>,
    annotations: Option<RawAnnotations>,
    owner_references: Option<Vec<RawOwner>>,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawLabels {
    #[serde(rename = "modelserving.volcano.sh/name")]
    serving: String,
    #[serde(rename = "modelserving.volcano.sh/group-name")]
    group: String,
    #[serde(rename = "modelserving.volcano.sh/role")]
    role: String,
    #[serde(rename = "modelserving.volcano.sh/role-id")]
    role_id: String,
    #[serde(rename = "modelserving.volcano.sh/revision")]
    revision: String,
    #[serde(rename = "modelserving.volcano.sh/role-template-hash")]
    role_hash: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawAnnotations {
    #[serde(rename = "controller.kubernetes.io/pod-deletion-cost")]
    deletion_cost: Option<String>,
    #[serde(rename = "modelserving.volcano.sh/role-replicas")]
    role_replicas: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawOwner {
    uid: String,
    controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawObject {
    metadata: RawMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPod {
    metadata: RawMeta,
    status: RawPodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPodStatus {
    phase: String,
    conditions: Option<Vec<RawCondition>>,
    container_statuses: Option<Vec<RawContainer>>,
    init_container_statuses: Option<Vec<RawContainer>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawContainer {
    restart_count: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSnapshot {
    metadata: RawMeta,
    data: Value,
}

impl RawMeta {
    fn owner(&self) -> String {
        let owners = self.owner_references.iter().flatten();
        let controller = owners
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone());
        { controller }.next().unwrap_or_default()
    }

    fn observed<V>(self, labels: &RawLabels, view: V) -> Observed<V> {
        Observed {
            serving: ObjectKey::new(self.namespace.clone(), labels.serving.clone()),
            key: ObjectKey::new(self.namespace, self.name),
            view: Arc::new(view),
        }
    }
}

impl From<RawPod> for ObservedPod {
    fn from(
        RawPod {
            mut metadata,
            status,
        }: RawPod,
    ) -> Self {
        let labels = metadata.labels.take().unwrap_or_default();
        let restarts = |containers: &Option<Vec<RawContainer>>| -> u32 {
            containers
                .iter()
                .flatten()
                .map(|container| container.restart_count)
                .sum()
        };
        let is_ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.kind == "Ready" && condition.status == "True");
        let cost = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.deletion_cost.as_deref());
        let view = PodView {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            owner: metadata.owner(),
            group: labels.group.clone(),
            role: labels.role.clone(),
            role_id: labels.role_id.clone(),
            revision: labels.revision.clone(),
            role_hash: labels.role_hash.clone(),
            is_terminating: metadata.deletion_timestamp.is_some(),
            phase: match status.phase.as_str() {
                "Running" => PodPhase::Running,
                "Succeeded" => PodPhase::Succeeded,
                "Failed" => PodPhase::Failed,
                _ => PodPhase::Pending,
            },
            is_ready,
            restarts: restarts(&status.container_statuses)
                + restarts(&status.init_container_statuses),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        };
        Self(metadata.observed(&labels, view))
    }
}

impl From<RawObject> for ObservedService {
    fn from(RawObject { mut metadata }: RawObject) -> Self {
        let labels = metadata.labels.take().unwrap_or_default();
        let view = ServiceView {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            owner: metadata.owner(),
            group: labels.group.clone(),
            role: labels.role.clone(),
            role_id: labels.role_id.clone(),
            is_terminating: metadata.deletion_timestamp.is_some(),
        };
        Self(metadata.observed(&labels, view))
    }
}

impl From<RawSnapshot> for ObservedSnapshot {
    fn from(RawSnapshot { mut metadata, data }: RawSnapshot) -> Self {
        let labels = metadata.labels.take().unwrap_or_default();
        let counts = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.role_replicas.as_deref());
        let content = SnapshotContent::read(&data);
        if content.is_none() {
            tracing::warn!(
                name = metadata.name,
                "ControllerRevision cannot be read and counts as missing"
            );
        }
        let view = SnapshotView {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            owner: metadata.owner(),
            revision: labels.revision.clone(),
            is_terminating: metadata.deletion_timestamp.is_some(),
            content,
            role_replicas: counts
                .and_then(|counts| serde_json::from_str::<BTreeMap<String, i32>>(counts).ok())
                .unwrap_or_default(),
        };
        Self(metadata.observed(&labels, view))
    }
}

/// Pods and services of all `ModelServing`s, ours and strangers that use our labels.
pub(crate) const PARTS: &str = labels::GROUP_NAME;
/// `ControllerRevision`s of all `ModelServing`s.
pub(crate) const SNAPSHOTS: &str = labels::MODEL_SERVING_NAME;

#[cfg(test)]
mod tests;
