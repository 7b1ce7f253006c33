//! What is read of a pod. The rest of the object is skipped while decoding.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

/// The parts of a `Pod` that decide whether and where it takes requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodObject {
    /// Identity, labels, deletion mark.
    pub metadata: PodMeta,
    /// Phase, conditions, address.
    pub status: PodStatus,
}

/// Identity, labels and deletion mark of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMeta {
    /// Name within the namespace.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Tells a pod from a later one of the same name.
    pub uid: String,
    /// Present once deletion was asked for. Only its presence matters.
    pub deletion_timestamp: Option<String>,
    /// Labels; absent = none.
    pub labels: Option<BTreeMap<String, String>>,
}

/// What a node reports of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Running` among others.
    pub phase: String,
    /// Address, empty until there is one.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// Conditions; absent = none.
    pub conditions: Option<Vec<PodCondition>>,
    /// What runs in it; absent = nothing yet.
    pub container_statuses: Option<Vec<ContainerStatus>>,
}

/// What a node reports of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// What it does now.
    pub state: ContainerState,
}

/// What a container does now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// Present while it runs.
    pub running: Option<RunningContainer>,
}

/// A container that runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunningContainer {
    /// When it was started, RFC 3339.
    pub started_at: Option<String>,
}

/// One condition of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodCondition {
    /// `Ready` among others.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// A pod as the router sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
    /// Tells a pod from a later one of the same name.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Running, ready and not being deleted.
    pub ready: bool,
    /// Where it can be reached; `None` = nothing is dispatched to it.
    pub address: Option<IpAddr>,
    /// When the newest of its running containers started, in seconds since 1970; `None` = unknown. What an engine held
    /// before is gone.
    pub started_unix: Option<i64>,
}

impl PodObject {
    /// Whether the pod may take requests: not being deleted, running, and its `Ready` condition true.
    pub fn is_ready(&self) -> bool {
        let ready =
            |condition: &PodCondition| condition.kind == "Ready" && condition.status == "True";
        self.metadata.deletion_timestamp.is_none()
            && self.status.phase == "Running"
            && self.status.conditions.iter().flatten().any(ready)
    }

    fn started_unix(&self) -> Option<i64> {
        let containers = self.status.container_statuses.iter().flatten();
        let started = containers
            .filter_map(|container| container.state.running.as_ref()?.started_at.as_ref());
        started
            .filter_map(|started| started.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_second)
            .max()
    }
}

impl From<&PodObject> for PodFacts {
    fn from(pod: &PodObject) -> Self {
        Self {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ready: pod.is_ready(),
            address: pod.status.pod_ip.parse().ok(),
            started_unix: pod.started_unix(),
        }
    }
}
