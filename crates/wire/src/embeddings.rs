//! Embeddings: request and answer.

use serde::{Deserialize, Serialize};

use crate::completions::Prompt;
use crate::{Extra, Usage};

/// Body of `POST /v1/embeddings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingRequest {
    /// The embedding model; engines take an absent one for their base model.
    #[serde(default)]
    pub model: String,
    /// What to embed; the same shapes as a completion's prompt.
    pub input: Prompt,
    /// `float` or `base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding_format: Option<String>,
    /// Length of the vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The answer: one vector per input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingList {
    /// Present from engines, absent from OpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `list`.
    pub object: String,
    /// Seconds since 1970; present from engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// The model that answered.
    pub model: String,
    /// One entry per input, in order.
    pub data: Vec<Embedding>,
    /// Tokens used.
    pub usage: Usage,
}

/// One vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Position among the inputs.
    pub index: u32,
    /// `embedding`.
    pub object: String,
    /// The vector, as numbers or as base64 of little-endian floats.
    pub embedding: Vector,
}

/// The two encodings of a vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Vector {
    /// Plain numbers.
    Floats(Vec<f32>),
    /// Base64 text.
    Base64(String),
}
