//! Endpoints only SGLang has.

use bytes::Bytes;
use http::StatusCode;
use kthena_wire::sampling::{Sampling, Stop};
use serde::Deserialize;

use super::generate::Ask;
use super::json::Object;
use super::respond::{Answer, ApiError, json};
use super::validate::{self, decode};
use super::{Call, Server};
use crate::batch::FinishReason;
use crate::text::tokenizer;

#[derive(Debug, Deserialize)]
struct GenerateRequest {
    text: Option<String>,
    input_ids: Option<Vec<u32>>,
    #[serde(default)]
    sampling_params: NativeSampling,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    bootstrap_room: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct NativeSampling {
    max_new_tokens: Option<u64>,
    min_new_tokens: Option<u64>,
    ignore_eos: Option<bool>,
    stop: Option<Stop>,
}

/// Tokens of an answer to `/generate` that sets no limit.
const NATIVE_LIMIT: u64 = 128;

impl Server {
    /// `/generate`, whole answers only.
    pub(crate) async fn native_generate(
        &self,
        call: &Call,
        body: Bytes,
    ) -> Result<Answer, ApiError> {
        let request: GenerateRequest = decode(&body, validate::NONE)?;
        if request.stream {
            let message = "The simulated engine does not stream /generate.";
            return Err(ApiError::bad_request(message).at("stream"));
        }
        let prompt = match (request.text, request.input_ids) {
            (Some(text), _) => tokenizer::encode(&text),
            (None, Some(tokens)) => tokens,
            (None, None) => {
                return Err(ApiError::bad_request(
                    "Either text or input_ids must be given.",
                ));
            }
        };
        let sampling = Sampling {
            max_tokens: request.sampling_params.max_new_tokens,
            min_tokens: request.sampling_params.min_new_tokens,
            ignore_eos: request.sampling_params.ignore_eos,
            stop: request.sampling_params.stop,
            bootstrap_room: request.bootstrap_room,
            ..Sampling::default()
        };
        let generation = self.generate(Ask {
            model: "",
            prompts: vec![prompt],
            sampling: &sampling,
            default_limit: Some(NATIVE_LIMIT),
            echo: None,
            with_prompt: false,
            logprobs: false,
            id: self.answer_id("", call),
            local: call.local,
        });
        let mut generation = generation.await?;
        generation.complete().await?;
        let counts = generation.counts;
        let pieces = generation.pieces();
        let mut out = Vec::new();
        for piece in pieces.iter().take(1) {
            let stopped = piece
                .end
                .is_some_and(|end| end.finish == FinishReason::Stop);
            Object::new(&mut out)
                .put("text", piece.text)
                .with("meta_info", |out| {
                    Object::new(out)
                        .put("id", &generation.head.id)
                        .with("finish_reason", |out| {
                            let kind = if stopped { "stop" } else { "length" };
                            Object::new(out).put("type", kind).end();
                        })
                        .put("prompt_tokens", counts.prompt)
                        .put("completion_tokens", counts.completion)
                        .put("cached_tokens", counts.cached)
                        .end();
                })
                .end();
        }
        Ok(json(StatusCode::OK, out))
    }

    pub(crate) fn model_info(&self) -> Answer {
        let mut out = Vec::new();
        Object::new(&mut out)
            .put("model_path", &self.handle.shared.config.model)
            .put("tokenizer_path", &self.handle.shared.config.model)
            .put("is_generation", self.generates())
            .end();
        json(StatusCode::OK, out)
    }

    pub(crate) fn server_info(&self) -> Answer {
        let config = &self.handle.shared.config;
        let cache = config.batch.cache;
        let tokens = u64::from(cache.blocks) * u64::from(cache.block_size);
        let mut out = Vec::new();
        Object::new(&mut out)
            .put("model_path", &config.model)
            .put("served_model_name", config.served_name())
            .put("tp_size", config.batch.model.tensor_parallel)
            .put("page_size", cache.block_size)
            .put("max_running_requests", config.batch.max_sequences)
            .put("max_total_num_tokens", tokens)
            .put("context_length", config.batch.max_model_len)
            .put("version", super::SGLANG_VERSION)
            .end();
        json(StatusCode::OK, out)
    }
}
