//! `ModelServer`: the pods that serve a model, and how they are spoken to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::resource::custom_resource;

custom_resource! {
    /// A set of pods that serve one model with one engine.
    ModelServer, group: "networking.serving.volcano.sh", plural: "modelservers",
    spec: ModelServerSpec, status: ModelServerStatus
}

/// What a `ModelServer` asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelServerSpec {
    /// The name the engine knows the model by; replaces the request's `model` unless that is an adapter. At most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Which engine the pods run.
    pub inference_engine: InferenceEngine,
    /// Which pods of the namespace serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<WorkloadSelector>,
    /// Where the engine listens.
    pub workload_port: WorkloadPort,
    /// Time limit and retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_policy: Option<TrafficPolicy>,
    /// How a prefill pod hands its KV cache to a decode pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_connector: Option<KvConnector>,
}

/// A `ModelServer` has no status fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelServerStatus {}

/// The engines a pod may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InferenceEngine {
    /// vLLM.
    #[default]
    #[serde(rename = "vLLM")]
    Vllm,
    /// `SGLang`.
    #[serde(rename = "SGLang")]
    Sglang,
}

/// Which pods serve, and which of them prefill or decode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels a pod must carry, all of them. Admission wants at least one.
    #[serde(
        deserialize_with = "crate::resource::null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub match_labels: BTreeMap<String, String>,
    /// Present = prefill and decode run in different pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pd_group: Option<PdGroup>,
}

/// How prefill pods are told from decode pods, and which of them belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PdGroup {
    /// Label key whose value pairs prefill with decode pods.
    pub group_key: String,
    /// Labels of prefill pods.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub prefill_labels: BTreeMap<String, String>,
    /// Labels of decode pods; a pod that matches both is a decode pod.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub decode_labels: BTreeMap<String, String>,
}

/// Where the engine listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadPort {
    /// 1 to 65535.
    pub port: i32,
    /// The API server defaults it to `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// How a pod is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

/// Time limit and retries of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// From dial to response headers, per attempt; absent or not positive = unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
    /// Absent = one attempt per candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// How often and how soon a failed attempt is repeated on another pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// Attempts after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Wait before each of them; the API server defaults it to 100 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<GoDuration>,
}

/// How a prefill pod hands its KV cache to a decode pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KvConnector {
    /// The API server defaults it to `http`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<KvConnectorType>,
}

/// The KV transfer protocols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvConnectorType {
    /// Prefill, then decode, nothing exchanged through the router.
    #[default]
    Http,
    /// As `http`.
    Lmcache,
    /// Transfer parameters travel from the prefill answer to the decode request.
    Nixl,
    /// As `nixl`.
    Mooncake,
}
