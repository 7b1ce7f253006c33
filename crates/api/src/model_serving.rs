//! `ModelServing`: groups of roles of pods that run an engine.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::int_or_percent::IntOrPercent;
use crate::resource::custom_resource;

custom_resource! {
    /// Runs `replicas` serving groups, each made of roles, each made of an entry pod and workers.
    ModelServing, group: "workload.serving.volcano.sh", plural: "modelservings",
    spec: ModelServingSpec, status: ModelServingStatus
}

/// What a `ModelServing` asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelServingSpec {
    /// Number of serving groups; absent counts as 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Scheduler of every pod; exactly `volcano` enables pod groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Run on each pod before it is created, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<PluginSpec>>,
    /// What one serving group looks like.
    pub template: ServingGroupTemplate,
    /// How a change of the template is rolled out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_strategy: Option<RolloutStrategy>,
    /// What is rebuilt when a pod fails; absent counts as `RoleRecreate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_policy: Option<RecoveryPolicy>,
    /// Revisions that are kept beyond those that pods or the status refer to, 0 and up, the newest first; absent = 0.
    /// Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i32>,
}

/// One plugin of the chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginSpec {
    /// Name in the registry.
    pub name: String,
    /// `BuiltIn` is the only kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Any JSON; its meaning is the plugin's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Which pods the plugin sees; absent = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<PluginScope>,
}

/// Which pods a plugin sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginScope {
    /// Role names; empty = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// `All`, `Entry` or `Worker`; empty = all; anything else matches nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What one serving group looks like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServingGroupTemplate {
    /// Seconds to wait before a failed pod is rebuilt; absent or not positive = at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_grace_period_seconds: Option<i64>,
    /// Which pods must be placed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gang_policy: Option<GangPolicy>,
    /// How close pods must be placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_topology: Option<NetworkTopology>,
    /// 1 to 4 roles with unique names.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub roles: Vec<Role>,
}

/// Which pods must be placed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GangPolicy {
    /// Role instances needed, by role name; a role that is not listed needs all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_role_replicas: Option<BTreeMap<String, i32>>,
}

/// How close pods must be placed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkTopology {
    /// For a whole serving group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_policy: Option<TopologyPolicy>,
    /// For each role instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_policy: Option<TopologyPolicy>,
}

/// A limit on the network distance between pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologyPolicy {
    /// `hard` or `soft`; the API server defaults it to `hard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Highest tier allowed, 0 and up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_tier_allowed: Option<i64>,
    /// The same by name, at most 253 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_tier_name: Option<String>,
}

/// A part of a serving group, such as prefill or decode.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Role {
    /// A DNS-1035 label of at most 12 bytes.
    pub name: String,
    /// Instances per serving group; absent counts as 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The one entry pod of each instance.
    pub entry_template: PodTemplate,
    /// Worker pods per instance.
    pub worker_replicas: i32,
    /// Needed when there are worker pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_template: Option<PodTemplate>,
    /// Instances that may be down during a role rollout, a share of `replicas` rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// Instances that a role rollout leaves alone, the lowest ordinals, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<IntOrPercent>,
}

/// A pod as a user describes it. The spec is opaque JSON: no field is lost on the way to the pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels and annotations for the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodTemplateMetadata>,
    /// A core/v1 `PodSpec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Map<String, Value>>,
}

/// The two members of a pod template's metadata that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateMetadata {
    /// Merged onto the pod; identity labels of the controller win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Merged onto the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// How a change of the template is rolled out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStrategy {
    /// The unit that is replaced.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<RolloutType>,
    /// Only for `ServingGroupRollingUpdate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update_configuration: Option<RollingUpdateConfiguration>,
    /// Nothing is replaced while this is true, and what is lost comes back as it was. Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Seconds without any progress after which a rollout is reported as stalled, 1 and up; absent = never.
    /// Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
}

/// The unit that a rollout replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutType {
    /// Whole serving groups.
    #[default]
    ServingGroupRollingUpdate,
    /// Role instances inside each group.
    RoleRollingUpdate,
}

/// Limits of a rollout of serving groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdateConfiguration {
    /// Groups that may be down, a share of `replicas` rounded down; the API server defaults it to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// Groups that stay as they are, the lowest ordinals, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<IntOrPercent>,
    /// Groups beyond `replicas` that may exist during a rollout, a share of `replicas` rounded up; absent = none.
    /// Our addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrPercent>,
}

/// What is rebuilt when a pod fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecoveryPolicy {
    /// The whole serving group.
    ServingGroupRecreate,
    /// The role instance.
    #[default]
    RoleRecreate,
    /// The pod alone.
    None,
}

/// What was last observed of a `ModelServing`. Counters of 0 are omitted, as Go clients do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelServingStatus {
    /// Generation the counters refer to.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub observed_generation: i64,
    /// Serving groups that exist, in any state.
    #[serde(skip_serializing_if = "is_zero")]
    pub replicas: i32,
    /// Groups that are not on the update revision.
    #[serde(skip_serializing_if = "is_zero")]
    pub current_replicas: i32,
    /// Groups on the update revision.
    #[serde(skip_serializing_if = "is_zero")]
    pub updated_replicas: i32,
    /// Ready groups.
    #[serde(skip_serializing_if = "is_zero")]
    pub available_replicas: i32,
    /// Revision of the groups that are not updated yet.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// Revision that the spec asks for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// `Available`, `Progressing`, `UpdateInProgress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Selects one pod per group, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label_selector: String,
    /// Instances of each role over all groups, in the order of the spec. Our addition.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::resource::null_as_default"
    )]
    pub roles: Vec<RoleStatus>,
}

/// Instances of one role over all serving groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleStatus {
    /// Name of the role.
    pub name: String,
    /// Instances that exist, in any state.
    pub replicas: i32,
    /// Instances whose pods are all ready.
    pub ready_replicas: i32,
    /// Instances that are what the spec asks for.
    pub updated_replicas: i32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero_i64(value: &i64) -> bool {
    *value == 0
}
