//! Text completions: request, answer and stream chunk (both have the same shape).

use serde::{Deserialize, Serialize};

use crate::sampling::Sampling;
use crate::{Extra, Usage};

#[cfg(test)]
mod tests;

/// Body of `POST /v1/completions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionRequest {
    /// Base model or adapter; engines take an absent one for their base model.
    #[serde(default)]
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// Answer with the prompt in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<bool>,
    /// Alternatives listed for every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u64>,
    /// How the answer is generated.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One or several prompts, as text or as token ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// One text.
    Text(String),
    /// One prompt of token ids; also what an empty list means.
    Tokens(Vec<u32>),
    /// Several texts, answered as several choices.
    Texts(Vec<String>),
    /// Several prompts of token ids.
    TokenLists(Vec<Vec<u32>>),
}

impl Prompt {
    /// The number of prompts.
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
        }
    }
}

/// A whole answer, or one event of a streamed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// Prompts times `n` entries; empty in a chunk that carries only usage.
    pub choices: Vec<CompletionChoice>,
    /// Tokens used, over all choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One alternative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// Position among the choices.
    pub index: u32,
    /// The text, or what a chunk adds to it.
    pub text: String,
    /// `stop` or `length`; absent until the choice ends.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}
