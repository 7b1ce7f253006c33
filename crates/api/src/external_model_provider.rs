//! `ExternalModelProvider`: a hosted model API that routes may send requests to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SecretKeySelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

use crate::resource::custom_resource;

custom_resource! {
    /// A model API outside the cluster.
    ExternalModelProvider, group: "networking.serving.volcano.sh", plural: "externalmodelproviders",
    spec: ExternalModelProviderSpec, status: ExternalModelProviderStatus
}

/// What an `ExternalModelProvider` asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalModelProviderSpec {
    /// The API server defaults it to `OpenAI`. Kept as written; admission judges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_type: Option<String>,
    /// Replaces the request's `model` when not empty. At most 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Root of the API, `https://…`.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// Accept any TLS certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
    /// Credential; absent = none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<ProviderAuth>,
    /// Headers added to every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
}

/// The credential of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderAuth {
    /// `Bearer` or `APIKey`; absent = what the provider type expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// A labelled Secret of the same namespace.
    pub secret_ref: SecretKeySelector,
}

/// What was last observed of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalModelProviderStatus {
    /// Generation the conditions refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `CredentialsResolved` and `Ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}
