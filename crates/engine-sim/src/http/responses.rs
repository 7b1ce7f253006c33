//! `/v1/responses`, whole answers only.

use bytes::Bytes;
use http::StatusCode;
use kthena_wire::Extra;
use kthena_wire::chat::Message;
use kthena_wire::sampling::Sampling;
use serde::Deserialize;

use super::chat::render;
use super::generate::{Ask, Generation};
use super::json::Object;
use super::respond::{Answer, ApiError, json};
use super::validate::{self, decode};
use super::{Call, Server};
use crate::batch::FinishReason;

#[derive(Debug, Deserialize)]
struct ResponsesRequest {
    #[serde(default)]
    model: String,
    input: Input,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    #[serde(flatten)]
    sampling: Sampling,
    #[serde(flatten)]
    extra: Extra,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Messages(Vec<Message>),
}

impl Server {
    pub(crate) async fn responses(&self, call: &Call, body: Bytes) -> Result<Answer, ApiError> {
        let mut request: ResponsesRequest = decode(&body, validate::INPUT)?;
        if request.sampling.is_stream() {
            let message = "The simulated engine does not stream /v1/responses.";
            return Err(ApiError::bad_request(message).at("stream"));
        }
        let mut messages = Vec::new();
        if let Some(text) = &request.instructions {
            messages.push(Message::new("system", text));
        }
        match request.input {
            Input::Text(text) => messages.push(Message::new("user", text)),
            Input::Messages(turns) => messages.extend(turns),
        }
        request.sampling.max_tokens = request.max_output_tokens;
        request.sampling.max_completion_tokens = None;
        let generation = self.generate(Ask {
            model: &request.model,
            prompts: vec![render(&messages, true)],
            sampling: &request.sampling,
            default_limit: None,
            echo: None,
            with_prompt: false,
            logprobs: false,
            id: self.answer_id("resp_", call),
            local: call.local,
        });
        let mut generation = generation.await?;
        generation.complete().await?;
        let mut out = Vec::with_capacity(2048);
        let message_id = self.answer_id("msg_", call);
        write(
            &mut out,
            &generation,
            &message_id,
            &request.sampling,
            &request.extra,
        );
        Ok(json(StatusCode::OK, out))
    }
}

fn write(
    out: &mut Vec<u8>,
    generation: &Generation,
    message_id: &str,
    sampling: &Sampling,
    extra: &Extra,
) {
    let pieces = generation.pieces();
    let piece = pieces.first();
    let cut = piece.is_some_and(|piece| {
        piece
            .end
            .is_some_and(|end| end.finish == FinishReason::Length)
    });
    let text = piece.map_or("", |piece| piece.text);
    let empty: [u8; 0] = [];
    let object = Object::new(out)
        .put("id", &generation.head.id)
        .put("created_at", generation.head.created)
        .with("incomplete_details", |out| {
            if cut {
                Object::new(out).put("reason", "max_output_tokens").end();
            } else {
                out.extend_from_slice(b"null");
            }
        })
        .put("instructions", extra.get("instructions"))
        .put("metadata", extra.get("metadata"))
        .put("model", &generation.head.model)
        .put("object", "response")
        .list("output", [text], |out, text| output(out, message_id, text))
        .put("parallel_tool_calls", true)
        .put("temperature", sampling.temperature.unwrap_or(1.0))
        .put("tool_choice", "none")
        .put("tools", empty)
        .put("top_p", 1.0)
        .put("background", false)
        .put("max_output_tokens", sampling.max_tokens)
        .nulls(&[
            "max_tool_calls",
            "previous_response_id",
            "prompt",
            "reasoning",
        ])
        .put("service_tier", "auto")
        .put("status", if cut { "incomplete" } else { "completed" })
        .nulls(&["text", "top_logprobs"])
        .put("truncation", "disabled");
    object
        .with("usage", |out| usage(out, generation))
        .put("user", sampling.user.as_deref())
        .put("presence_penalty", 0.0)
        .put("frequency_penalty", 0.0)
        .put("kv_transfer_params", &generation.kv_transfer)
        .nulls(&["ec_transfer_params", "input_messages", "output_messages"])
        .end();
}

fn output(out: &mut Vec<u8>, id: &str, text: &str) {
    let empty: [u8; 0] = [];
    Object::new(out)
        .put("id", id)
        .list("content", [text], |out, text| {
            Object::new(out)
                .put("annotations", empty)
                .put("text", text)
                .put("type", "output_text")
                .nulls(&["logprobs"])
                .end();
        })
        .put("role", "assistant")
        .put("status", "completed")
        .put("type", "message")
        .nulls(&["phase"])
        .end();
}

fn usage(out: &mut Vec<u8>, generation: &Generation) {
    let counts = generation.counts;
    let empty: [u8; 0] = [];
    Object::new(out)
        .put("input_tokens", counts.prompt)
        .with("input_tokens_details", |out| {
            Object::new(out)
                .put("cached_tokens", counts.cached)
                .put("cache_write_tokens", 0)
                .put("input_tokens_per_turn", empty)
                .put("cached_tokens_per_turn", empty)
                .end();
        })
        .put("output_tokens", counts.completion)
        .with("output_tokens_details", |out| {
            Object::new(out)
                .put("reasoning_tokens", 0)
                .put("tool_output_tokens", 0)
                .put("output_tokens_per_turn", empty)
                .put("tool_output_tokens_per_turn", empty)
                .end();
        })
        .put("total_tokens", counts.total())
        .end();
}
