//! `/tokenize` and `/detokenize`.

use bytes::Bytes;
use http::StatusCode;
use kthena_wire::chat::Message;
use serde::Deserialize;

use super::Server;
use super::chat::render;
use super::json::Object;
use super::respond::{Answer, ApiError, json};
use super::validate::{self, decode};
use crate::config::Dialect;
use crate::text::tokenizer;

#[derive(Debug, Deserialize)]
struct TokenizeRequest {
    #[serde(default)]
    model: String,
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    add_generation_prompt: Option<bool>,
    #[serde(default)]
    return_token_strs: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct DetokenizeRequest {
    #[serde(default)]
    model: String,
    tokens: Vec<u32>,
}

impl Server {
    pub(crate) fn tokenize(&self, body: &[u8]) -> Result<Answer, ApiError> {
        let request: TokenizeRequest = decode(body, validate::NONE)?;
        self.resolve_model(&request.model)?;
        let tokens = match (&request.prompt, &request.messages) {
            (Some(text), _) => tokenizer::encode(text),
            (None, Some(messages)) => {
                render(messages, request.add_generation_prompt.unwrap_or(true))
            }
            (None, None) => {
                let message = "Either prompt or messages must be given.";
                return Err(ApiError::bad_request(message).at("prompt"));
            }
        };
        let strings = request.return_token_strs.unwrap_or(false).then(|| {
            let texts = tokens.iter().map(|token| tokenizer::decode(&[*token]));
            texts.collect::<Vec<_>>()
        });
        let mut out = Vec::with_capacity(tokens.len() * 8 + 80);
        Object::new(&mut out)
            .put("count", tokens.len())
            .put(
                "max_model_len",
                self.handle.shared.config.batch.max_model_len,
            )
            .put("tokens", &tokens)
            .put("token_strs", strings)
            .end();
        Ok(json(StatusCode::OK, out))
    }

    pub(crate) fn detokenize(&self, body: &[u8]) -> Result<Answer, ApiError> {
        let request: DetokenizeRequest = decode(body, validate::TOKENS)?;
        self.resolve_model(&request.model)?;
        let text = tokenizer::decode(&request.tokens);
        let name = match self.handle.shared.config.dialect {
            Dialect::Vllm => "prompt",
            Dialect::Sglang => "text",
        };
        let mut out = Vec::new();
        Object::new(&mut out).put(name, text).end();
        Ok(json(StatusCode::OK, Bytes::from(out)))
    }
}
