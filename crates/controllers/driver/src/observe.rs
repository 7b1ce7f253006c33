//! What is read of each object; everything else is skipped while its JSON is parsed.

use std::collections::BTreeMap;

use kthena_api::labels;
use kthena_cluster::ObjectKey;
use kthena_cluster::watch::Named;
use kthena_controllers_model_serving::{
    GangSupport, PodGroupView, PodPhase, PodView, ServiceView, SnapshotContent, SnapshotView,
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

/// A Volcano `PodGroup`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RawPodGroup")]
pub(crate) struct ObservedPodGroup(pub(crate) Observed<PodGroupView>);

/// What the definition of `PodGroup` says it can do.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RawDefinition")]
pub(crate) struct ObservedDefinition {
    name: String,
    pub(crate) support: GangSupport,
}

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
part!(ObservedPodGroup, PodGroupView);

impl Named for ObservedDefinition {
    fn key(&self) -> ObjectKey {
        ObjectKey::new("", self.name.clone())
    }
}

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
    finalizers: Option<Vec<String>>,
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
    #[serde(rename = "modelserving.volcano.sh/role-hashes")]
    role_hashes: Option<String>,
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
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawContainer {
    restart_count: u32,
    state: Option<RawState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawState {
    waiting: Option<RawWaiting>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawWaiting {
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSnapshot {
    metadata: RawMeta,
    revision: i64,
    data: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPodGroup {
    metadata: RawMeta,
    spec: Value,
    status: RawGangStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawGangStatus {
    phase: String,
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawDefinition {
    metadata: RawMeta,
    spec: RawDefinitionSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawDefinitionSpec {
    versions: Vec<RawVersion>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawVersion {
    schema: RawSchemaHolder,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSchemaHolder {
    #[serde(rename = "openAPIV3Schema")]
    root: RawSchema,
}

/// The members of an object and of its members, as far as the schema names them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSchema {
    properties: BTreeMap<String, RawMembers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawMembers {
    properties: RawPodGroupSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPodGroupSpec {
    sub_group_policy: Option<serde::de::IgnoredAny>,
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

impl RawLabels {
    /// The group of a pod. The controller that this one replaces lets a template overwrite the label of the group, but
    /// the name `<group>-<role id>-<index>` tells it all the same.
    fn group_of<'a>(&'a self, pod: &'a str) -> &'a str {
        let is_ours = |group: &str| {
            let ordinal = group.strip_prefix(&self.serving);
            ordinal
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
                })
        };
        if is_ours(&self.group) {
            return &self.group;
        }
        let named = pod
            .rsplit_once('-')
            .and_then(|(instance, _)| instance.strip_suffix(&self.role_id)?.strip_suffix('-'));
        named.filter(|group| is_ours(group)).unwrap_or(&self.group)
    }
}

impl RawPodStatus {
    /// Why the pod is not ready, as far as its status names something that does not pass by itself in a moment.
    fn waiting(&self) -> String {
        const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
        let containers = [&self.init_container_statuses, &self.container_statuses];
        let mut reasons = containers
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|container| {
                container
                    .state
                    .as_ref()?
                    .waiting
                    .as_ref()?
                    .reason
                    .as_deref()
            })
            .filter(|reason| !PASSING.contains(reason));
        if let Some(reason) = reasons.next() {
            return reason.to_owned();
        }
        let unplaced = self
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.kind == "PodScheduled" && condition.status == "False");
        unplaced
            .and_then(|condition| condition.reason.clone())
            .unwrap_or_default()
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
            group: labels.group_of(&metadata.name).to_owned(),
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
            waiting: status.waiting(),
            finalizer: metadata
                .finalizers
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        };
        Self(metadata.observed(&labels, view))
    }
}

impl From<RawPodGroup> for ObservedPodGroup {
    fn from(
        RawPodGroup {
            mut metadata,
            spec,
            status,
        }: RawPodGroup,
    ) -> Self {
        let labels = metadata.labels.take().unwrap_or_default();
        let view = PodGroupView {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            owner: metadata.owner(),
            group: labels.group.clone(),
            is_terminating: metadata.deletion_timestamp.is_some(),
            spec,
            unplaced: status.unplaced(),
        };
        Self(metadata.observed(&labels, view))
    }
}

impl RawGangStatus {
    /// Why the scheduler could not place it. Conditions are never taken back, so the phase counts too.
    fn unplaced(&self) -> String {
        let mut conditions = self.conditions.iter().flatten();
        let refused = conditions
            .find(|condition| condition.kind == "Unschedulable" && condition.status == "True");
        let Some(refused) = refused.filter(|_| self.phase != "Running") else {
            return String::new();
        };
        let reason = refused.reason.as_deref().unwrap_or("Unschedulable");
        match refused.message.as_deref().filter(|text| !text.is_empty()) {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }
    }
}

impl From<RawDefinition> for ObservedDefinition {
    fn from(RawDefinition { metadata, spec }: RawDefinition) -> Self {
        let has_sub_groups = spec.versions.iter().any(|version| {
            let members = version.schema.root.properties.get("spec");
            members.is_some_and(|spec| spec.properties.sub_group_policy.is_some())
        });
        Self {
            name: metadata.name,
            support: GangSupport { has_sub_groups },
        }
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
    fn from(
        RawSnapshot {
            mut metadata,
            revision: number,
            data,
        }: RawSnapshot,
    ) -> Self {
        let labels = metadata.labels.take().unwrap_or_default();
        let annotations = metadata.annotations.take().unwrap_or_default();
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
            number,
            is_terminating: metadata.deletion_timestamp.is_some(),
            content,
            role_replicas: annotated(annotations.role_replicas.as_deref()),
            role_hashes: annotated(annotations.role_hashes.as_deref()),
        };
        Self(metadata.observed(&labels, view))
    }
}

/// A map in an annotation; what cannot be read counts as nothing.
fn annotated<T: serde::de::DeserializeOwned + Default>(text: Option<&str>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Pods and services of all `ModelServing`s, ours and strangers that use our labels.
pub(crate) const PARTS: &str = labels::GROUP_NAME;
/// `ControllerRevision`s of all `ModelServing`s.
pub(crate) const SNAPSHOTS: &str = labels::MODEL_SERVING_NAME;

#[cfg(test)]
mod tests;
