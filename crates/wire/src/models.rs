//! The list of models a server answers for.

use serde::{Deserialize, Serialize};

use crate::Extra;

/// Body of `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelList {
    /// `list`.
    pub object: String,
    /// Base models and adapters.
    pub data: Vec<ModelCard>,
}

impl ModelList {
    /// A list of `data`.
    pub fn new(data: Vec<ModelCard>) -> Self {
        let object = "list".to_owned();
        Self { object, data }
    }
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The name requests use.
    pub id: String,
    /// `model`.
    pub object: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub created: i64,
    /// `vllm`, `sglang`, an organisation, …
    #[serde(default)]
    pub owned_by: String,
    /// Members not named here (`root`, `parent`, `max_model_len`, `permission`).
    #[serde(flatten)]
    pub extra: Extra,
}
