//! `AutoscalingPolicy`: how many groups or roles of a `ModelServing` run, by metrics.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::quantity::Quantity;
use crate::resource::custom_resource;

custom_resource! {
    /// Scales one target by metrics.
    AutoscalingPolicy, group: "workload.serving.volcano.sh", plural: "autoscalingpolicies",
    spec: AutoscalingPolicySpec, status: AutoscalingPolicyStatus
}

/// What an `AutoscalingPolicy` asks for. Exactly one of the three targets is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalingPolicySpec {
    /// Deviation that changes nothing, in percent, 0 to 100; the API server defaults it to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_percent: Option<i32>,
    /// What is measured and what it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Metric>>,
    /// How fast to scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// One `ModelServing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homogeneous_target: Option<HomogeneousTarget>,
    /// Several `ModelServing`s of different cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heterogeneous_target: Option<HeterogeneousTarget>,
    /// One or two roles of a `ModelServing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disaggregated_target: Option<DisaggregatedTarget>,
}

/// A metric and its wanted value per instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Key into `metricSources`.
    pub name: String,
    /// More than 0.
    pub target_value: Quantity,
}

/// How fast to scale.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    /// Up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScaleUp>,
    /// Down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<StablePolicy>,
}

/// How fast to scale up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUp {
    /// Normally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_policy: Option<StablePolicy>,
    /// Under a sudden rise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic_policy: Option<PanicPolicy>,
}

/// Limits of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StablePolicy {
    /// Largest step per period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// Largest step per period as a share of the current count, 0 to 1000 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// 0 to 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<GoDuration>,
    /// `Or` = the laxer of both limits, `And` = the stricter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<String>,
    /// How far back recommendations count, 0 to 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window: Option<GoDuration>,
}

/// Limits under a sudden rise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PanicPolicy {
    /// Largest step per period as a share of the current count, 0 to 1000 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// 0 to 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<GoDuration>,
    /// Rise that starts it, 110 to 1000 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic_threshold_percent: Option<i32>,
    /// How long it lasts; 0 = never starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic_mode_hold: Option<GoDuration>,
}

/// One `ModelServing`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HomogeneousTarget {
    /// What is scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Lower bound, 0 to 1,000,000.
    pub min_replicas: i32,
    /// Upper bound, 1 to 1,000,000.
    pub max_replicas: i32,
}

/// Several `ModelServing`s of different cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeterogeneousTarget {
    /// The targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<HeterogeneousParam>>,
    /// Cost added at the most, in percent; the API server defaults it to 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_expansion_rate_percent: Option<i32>,
}

/// One of several targets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeterogeneousParam {
    /// What is scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Cost of an instance, 0 and up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<i32>,
    /// Lower bound.
    pub min_replicas: i32,
    /// Upper bound.
    pub max_replicas: i32,
}

/// What is scaled and where its metrics come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// A `ModelServing`.
    pub target_ref: ObjectReference,
    /// By metric name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_sources: Option<BTreeMap<String, MetricSource>>,
}

/// Where a metric comes from: exactly one is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSource {
    /// Scraped from the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodMetricSource>,
    /// Queried from Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusMetricSource>,
}

/// A metric scraped from the pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMetricSource {
    /// Name in the exposition; empty = the metric's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The API server defaults it to `/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The API server defaults it to 8100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Which of the target's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// A metric queried from Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusMetricSource {
    /// Address of the server.
    #[serde(rename = "serverURL")]
    pub server_url: String,
    /// `PromQL`.
    pub query: String,
    /// Reserved, ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<PrometheusAuth>,
}

/// Reserved, without members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrometheusAuth {}

/// One or two roles of a `ModelServing`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisaggregatedTarget {
    /// The `ModelServing`.
    pub target_ref: ObjectReference,
    /// By role name, one or two.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub roles: BTreeMap<String, RoleScalingParam>,
    /// Bounds on the ratio of the two roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_constraint: Option<RatioConstraint>,
}

/// How one role is scaled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleScalingParam {
    /// Lower bound.
    pub min_replicas: i32,
    /// Upper bound; equal to the lower = a fixed role.
    pub max_replicas: i32,
    /// In place of the policy's metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Metric>>,
    /// By metric name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_sources: Option<BTreeMap<String, MetricSource>>,
}

/// Bounds on the ratio of two roles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RatioConstraint {
    /// Role above the bar.
    pub numerator_role: String,
    /// Role below the bar.
    pub denominator_role: String,
    /// Lower bound, 0 and up.
    pub min_ratio: Quantity,
    /// Upper bound, more than 0.
    pub max_ratio: Quantity,
}

/// What was last observed of an `AutoscalingPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalingPolicyStatus {
    /// Generation the rest refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `TargetFound`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Of a homogeneous target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homogeneous_status: Option<TargetScalingStatus>,
    /// Of heterogeneous targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heterogeneous_status: Option<Vec<TargetScalingStatus>>,
    /// Of a disaggregated target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disaggregated_status: Option<DisaggregatedStatus>,
}

/// What was last observed of one target or role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetScalingStatus {
    /// Of the target or role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Replicas now.
    pub current_replicas: i32,
    /// Replicas wanted, before behaviour and ratio.
    pub desired_replicas: i32,
    /// `Stable` or `Panic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// When replicas last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
}

/// What was last observed of a disaggregated target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisaggregatedStatus {
    /// Of each role.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub roles: Vec<TargetScalingStatus>,
    /// Of the ratio; present with a ratio constraint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_status: Option<RatioStatus>,
    /// True if the ratio constraint changed the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_adjusted: Option<bool>,
}

/// What was last observed of a ratio.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RatioStatus {
    /// Role above the bar.
    pub numerator_role: String,
    /// Role below the bar.
    pub denominator_role: String,
    /// Shortest decimal; absent when the denominator is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_ratio: Option<String>,
}
