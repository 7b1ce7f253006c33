//! How an answer is to be generated: the members that chat and completion requests share.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a stream should carry beside the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    /// A last chunk with no choices and the usage of the whole request.
    pub include_usage: bool,
    /// The usage so far in every chunk (a vLLM and SGLang extension).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continuous_usage_stats: bool,
}

/// Texts that end an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// A single text.
    One(String),
    /// Any of several texts.
    Many(Vec<String>),
}

impl Stop {
    /// All stop texts, in the order given.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// Generation settings that are spelled alike for chat and text completions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Answer as a stream of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// What the stream carries; without `stream` it means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// Most tokens to generate for a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Newer spelling of `max_tokens` for chat; it wins over the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u64>,
    /// Fewest tokens before a stop text or end of text counts (engine extension).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<u64>,
    /// Number of choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Makes the answer repeatable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Spread of the distribution tokens are drawn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Go on after the end of text, up to the token limit (engine extension).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
    /// The end user, as the caller names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Hand-over of cached prompt blocks between prefill and decode engines (vLLM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_transfer_params: Option<Value>,
    /// Host of the prefill engine a decode engine fetches from (SGLang).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_host: Option<String>,
    /// Port of that host's hand-over server (SGLang).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_port: Option<u16>,
    /// Number that pairs the two halves of a request (SGLang).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_room: Option<u64>,
}

impl Sampling {
    /// The token limit of one choice, if the caller set one.
    pub fn token_limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Whether the answer is to be a stream.
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }
}
