//! `/v1/embeddings`: vectors that depend on nothing but the tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use kthena_wire::embeddings::{Embedding, EmbeddingList, EmbeddingRequest, Vector};
use kthena_wire::sampling::Sampling;
use kthena_wire::usage::Usage;

use super::chat::prompts;
use super::generate::Ask;
use super::respond::{Answer, ApiError, json};
use super::validate::{self, decode};
use super::{Call, Server};
use crate::text::Dice;
use crate::text::answer::seed_of;

impl Server {
    pub(crate) async fn embeddings(&self, call: &Call, body: Bytes) -> Result<Answer, ApiError> {
        let request: EmbeddingRequest = decode(&body, validate::INPUT)?;
        let prompts = prompts(request.input);
        let seeds: Vec<u64> = prompts.iter().map(|prompt| seed_of(prompt)).collect();
        let width = self.handle.shared.config.batch.model.model.hidden as usize;
        let width = request.dimensions.unwrap_or(width).clamp(1, width);
        // One pass over the prompt, which is what a request for one token costs.
        let sampling = Sampling {
            max_tokens: Some(1),
            ..Sampling::default()
        };
        let generation = self.generate(Ask {
            model: &request.model,
            prompts,
            sampling: &sampling,
            default_limit: None,
            echo: None,
            with_prompt: false,
            logprobs: false,
            id: self.answer_id("embd-", call),
            local: call.local,
        });
        let mut generation = generation.await?;
        generation.complete().await?;
        let base64 = request.encoding_format.as_deref() == Some("base64");
        let data = (0_u32..).zip(seeds).map(|(index, seed)| Embedding {
            index,
            object: "embedding".to_owned(),
            embedding: encoded(vector(seed, width), base64),
        });
        let list = EmbeddingList {
            id: Some(generation.head.id.clone()),
            object: "list".to_owned(),
            created: Some(generation.head.created),
            model: generation.head.model.clone(),
            data: data.collect(),
            usage: Usage {
                prompt_tokens: generation.counts.prompt,
                total_tokens: generation.counts.prompt,
                ..Usage::default()
            },
        };
        let mut out = Vec::new();
        super::json::value(&mut out, &list);
        Ok(json(StatusCode::OK, out))
    }
}

/// A vector of length one.
fn vector(seed: u64, width: usize) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    let raw: Vec<f32> = (0..width)
        .map(|_| dice.below(2001) as f32 / 1000.0 - 1.0)
        .collect();
    let norm = raw
        .iter()
        .map(|x| x * x)
        .sum::<f32>()
        .sqrt()
        .max(f32::EPSILON);
    raw.into_iter().map(|x| x / norm).collect()
}

fn encoded(vector: Vec<f32>, base64: bool) -> Vector {
    if !base64 {
        return Vector::Floats(vector);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    Vector::Base64(STANDARD.encode(bytes))
}
