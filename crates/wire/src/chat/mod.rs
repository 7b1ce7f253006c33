//! Chat completions: request, answer and stream chunk.

use serde::{Deserialize, Serialize};

use crate::sampling::Sampling;
use crate::{Extra, Usage};

#[cfg(test)]
mod tests;

/// Body of `POST /v1/chat/completions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// Base model or adapter; engines take an absent one for their base model.
    #[serde(default)]
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Ask for log probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// Alternatives listed for every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u64>,
    /// How the answer is generated.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// Members not named here (tools, response format, …).
    #[serde(flatten)]
    pub extra: Extra,
}

impl ChatRequest {
    /// A request with one user message and nothing else set.
    pub fn new(model: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            messages: vec![Message::new("user", prompt)],
            logprobs: None,
            top_logprobs: None,
            sampling: Sampling::default(),
            extra: Extra::new(),
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, …
    pub role: String,
    /// What is said; absent in an assistant turn that only calls tools.
    #[serde(default)]
    pub content: Option<Content>,
    /// Members not named here (name, tool calls, …).
    #[serde(flatten)]
    pub extra: Extra,
}

impl Message {
    /// A plain text turn.
    pub fn new(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: Some(Content::Text(text.into())),
            extra: Extra::new(),
        }
    }

    /// Appends the text of this turn to `out`; parts are separated by line breaks.
    pub fn push_text(&self, out: &mut String) {
        match &self.content {
            None => {}
            Some(Content::Text(text)) => out.push_str(text),
            Some(Content::Parts(parts)) => {
                let mut separator = "";
                for text in parts.iter().filter_map(|part| part.text.as_deref()) {
                    out.push_str(separator);
                    out.push_str(text);
                    separator = "\n";
                }
            }
        }
    }
}

/// The content of a turn: a text, or parts of which some may be images or audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Typed parts.
    Parts(Vec<Part>),
}

/// A part of a turn; only text parts carry `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `text`, `image_url`, …
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The text of a text part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletion {
    /// `chatcmpl-…`.
    pub id: String,
    /// `chat.completion`.
    pub object: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// One entry per `n`.
    pub choices: Vec<ChatChoice>,
    /// Tokens used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One alternative of a whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// Position among the choices.
    pub index: u32,
    /// The answer.
    pub message: Message,
    /// `stop`, `length`, `tool_calls`, …
    pub finish_reason: Option<String>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One event of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// The same in every chunk of an answer.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model that answers.
    pub model: String,
    /// Empty in the chunk that carries only usage.
    pub choices: Vec<ChatDelta>,
    /// Usage so far, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ChatChunk {
    /// The text this chunk adds to the first choice.
    pub fn text(&self) -> &str {
        self.choices
            .first()
            .and_then(|choice| choice.delta.content.as_deref())
            .unwrap_or_default()
    }
}

/// What a chunk adds to one choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatDelta {
    /// Position among the choices.
    pub index: u32,
    /// The addition.
    pub delta: Delta,
    /// Set in the last chunk of the choice.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// Members not named here.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The addition itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Sent once, in the first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text to append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Members not named here (tool calls, reasoning, …).
    #[serde(flatten)]
    pub extra: Extra,
}
