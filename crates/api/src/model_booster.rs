//! `ModelBooster`: one object that makes a `ModelServing`, a `ModelServer` and a `ModelRoute`.

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model_route::ModelMatch;
use crate::resource::custom_resource;

custom_resource! {
    /// A model and the backend that serves it.
    ModelBooster, group: "workload.serving.volcano.sh", plural: "modelboosters",
    spec: ModelBoosterSpec, status: ModelBoosterStatus
}

/// What a `ModelBooster` asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelBoosterSpec {
    /// Name that clients use; absent = the object's name. At most 64 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Stored, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Condition of the generated route's one rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_match: Option<ModelMatch>,
    /// What serves the model.
    pub backend: ModelBackend,
}

/// What serves the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelBackend {
    /// Part of the generated names.
    pub name: String,
    /// `vLLM` or `vLLMDisaggregated`. Kept as written; admission judges it.
    #[serde(rename = "type")]
    pub kind: String,
    /// `hf://`, `s3://`, `obs://`, `pvc://` or `ms://`.
    #[serde(rename = "modelURI")]
    pub model_uri: String,
    /// `hostpath://` or `pvc://`; absent = an empty directory.
    #[serde(rename = "cacheURI", skip_serializing_if = "Option::is_none")]
    pub cache_uri: Option<String>,
    /// Environment from Secrets and `ConfigMap`s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_from: Option<Vec<EnvFromSource>>,
    /// Environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvVar>>,
    /// Serving groups, 0 to 1,000,000.
    pub replicas: i32,
    /// Kinds of pods of a serving group.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub workers: Vec<ModelWorker>,
    /// Empty = the default of `ModelServing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Runtime class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
}

/// One kind of pods of a serving group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelWorker {
    /// `server`, `prefill` or `decode`; the API server defaults it to `server`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Role instances per group; absent = 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods per role instance, for one engine over several pods; absent = 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<i32>,
    /// Resources of the engine container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Engine flags, an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// What was last observed of a `ModelBooster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelBoosterStatus {
    /// `Initialized`, `Active`, `Failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Generation the conditions refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
