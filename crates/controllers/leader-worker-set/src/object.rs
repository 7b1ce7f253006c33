//! `LeaderWorkerSet`, version `v1`, as its own project serves it.
//!
//! Members that are not known here are kept by name, so that they can be told apart from those that are served. A
//! count or policy that is absent, `null` or of a later version never makes an object unreadable.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `replicas` groups, each made of a leader pod and `size - 1` worker pods.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LeaderWorkerSet {
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: LeaderWorkerSetSpec,
    /// What was last observed.
    pub status: Option<LeaderWorkerSetStatus>,
}

/// What a `LeaderWorkerSet` asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerSetSpec {
    /// Number of groups; absent counts as 1.
    pub replicas: Option<i32>,
    /// The pods of a group.
    pub leader_worker_template: LeaderWorkerTemplate,
    /// How a change of the templates is rolled out.
    pub rollout_strategy: Option<RolloutStrategy>,
    /// `LeaderCreated` or `LeaderReady`; absent counts as `LeaderCreated`.
    pub startup_policy: Option<String>,
    /// Names of pods in DNS.
    pub network_config: Option<NetworkConfig>,
    /// Members of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The pods of a group.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerTemplate {
    /// The leader pod; absent counts as `worker_template`.
    pub leader_template: Option<Template>,
    /// Each worker pod.
    pub worker_template: Template,
    /// Pods in a group, the leader included; absent counts as 1.
    pub size: Option<i32>,
    /// What a failed pod does to its group; absent counts as `RecreateGroupOnPodRestart`.
    pub restart_policy: Option<String>,
    /// Parts of a group that are placed together.
    pub sub_group_policy: Option<Value>,
    /// Members of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A pod as a user describes it. The spec is opaque JSON.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Template {
    /// Labels, annotations, and what else a user wrote.
    pub metadata: Option<Map<String, Value>>,
    /// A core/v1 `PodSpec`.
    pub spec: Option<Map<String, Value>>,
}

/// How a change of the templates is rolled out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStrategy {
    /// `RollingUpdate` is the only kind.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Limits.
    pub rolling_update_configuration: Option<RollingUpdateConfiguration>,
    /// Members of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Limits of a rollout. Counts and percentages are passed on as written; the API server judges them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdateConfiguration {
    /// Groups that stay as they are, the lowest ordinals; absent counts as 0.
    pub partition: Option<Value>,
    /// Groups that may be down, a share rounded down; absent counts as 1.
    pub max_unavailable: Option<Value>,
    /// Groups beyond `replicas` during a rollout, a share rounded up; absent counts as 0.
    pub max_surge: Option<Value>,
    /// Members of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Names of pods in DNS.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkConfig {
    /// `Shared` or `UniquePerReplica`; absent counts as `Shared`.
    pub subdomain_policy: Option<String>,
    /// Members of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What was last observed of a `LeaderWorkerSet`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaderWorkerSetStatus {
    /// What holds, and what is being waited for.
    pub conditions: Option<Vec<Condition>>,
    /// Groups that exist.
    pub replicas: i32,
    /// Groups that are ready.
    pub ready_replicas: i32,
    /// Groups of the newest revision.
    pub updated_replicas: i32,
    /// Selects the leader pods, so that an autoscaler counts groups.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hpa_pod_selector: String,
    /// Members that somebody else writes.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl k8s_openapi::Resource for LeaderWorkerSet {
    const API_VERSION: &'static str = "leaderworkerset.x-k8s.io/v1";
    const GROUP: &'static str = "leaderworkerset.x-k8s.io";
    const KIND: &'static str = "LeaderWorkerSet";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "leaderworkersets";
    type Scope = k8s_openapi::NamespaceResourceScope;
}

impl k8s_openapi::Metadata for LeaderWorkerSet {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
