//! Tokens a request used.

use serde::{Deserialize, Serialize};

use crate::Extra;

#[cfg(test)]
mod tests;

/// Token counts of one request. In a stream they are totals so far, not increments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Prompt and completion; zero when the server left it out, see [`Usage::total`].
    pub total_tokens: u64,
    /// Tokens generated; absent for embeddings.
    pub completion_tokens: u64,
    /// Where the prompt tokens came from, if the server says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Usage {
    /// The total as given, or the sum where it is absent.
    pub fn total(&self) -> u64 {
        if self.total_tokens > 0 {
            self.total_tokens
        } else {
            self.prompt_tokens.saturating_add(self.completion_tokens)
        }
    }

    /// Prompt tokens that came from a cache.
    pub fn cached_tokens(&self) -> u64 {
        self.prompt_tokens_details
            .as_ref()
            .and_then(|details| details.cached_tokens)
            .unwrap_or(0)
    }
}

/// A breakdown of the prompt tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptTokensDetails {
    /// Tokens found in a cache.
    pub cached_tokens: Option<u64>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}
