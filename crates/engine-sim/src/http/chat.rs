//! `/v1/chat/completions` and `/v1/completions`.

use bytes::Bytes;
use http::StatusCode;
use kthena_wire::chat::{ChatRequest, Message};
use kthena_wire::completions::{CompletionRequest, Prompt};

use super::generate::Ask;
use super::respond::{Answer, ApiError, json};
use super::stream::{self, StreamKind};
use super::validate::{self, decode};
use super::{Call, Server, bodies};
use crate::text::tokenizer::{self, Turn};

/// Token limit of a text completion that sets none; part of the API since its beginning.
const COMPLETION_LIMIT: u64 = 16;

/// The tokens of a conversation, with the opening of the answer.
pub(crate) fn render(messages: &[Message], open_answer: bool) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut text = String::new();
    for message in messages {
        text.clear();
        message.push_text(&mut text);
        let turn = Turn {
            role: &message.role,
            text: &text,
        };
        tokenizer::render_turn(turn, &mut tokens);
    }
    if open_answer {
        tokenizer::render_answer_start(&mut tokens);
    }
    tokens
}

/// The tokens of each prompt of a completion.
pub(crate) fn prompts(prompt: Prompt) -> Vec<Vec<u32>> {
    match prompt {
        Prompt::Text(text) => vec![tokenizer::encode(&text)],
        Prompt::Texts(texts) => texts.iter().map(|text| tokenizer::encode(text)).collect(),
        Prompt::Tokens(tokens) => vec![tokens],
        Prompt::TokenLists(lists) => lists,
    }
}

impl Server {
    pub(crate) async fn chat(&self, call: &Call, body: Bytes) -> Result<Answer, ApiError> {
        let request: ChatRequest = decode(&body, validate::CHAT)?;
        drop(body);
        if request.messages.is_empty() {
            let message = "messages must have at least one entry.";
            return Err(ApiError::bad_request(message).at("messages"));
        }
        let mut last = String::new();
        if let Some(message) = request.messages.last() {
            message.push_text(&mut last);
        }
        let generation = self.generate(Ask {
            model: &request.model,
            prompts: vec![render(&request.messages, true)],
            sampling: &request.sampling,
            default_limit: None,
            echo: Some(&last),
            with_prompt: false,
            logprobs: request.logprobs == Some(true),
            id: self.answer_id("chatcmpl-", call),
            local: call.local,
        });
        let mut generation = generation.await?;
        if request.sampling.is_stream() {
            let options = request.sampling.stream_options;
            let fate = call.fate.stream;
            return Ok(stream::answer(generation, StreamKind::Chat, options, fate));
        }
        generation.complete().await?;
        let mut out = Vec::with_capacity(2048);
        let transfer = generation.kv_transfer.as_ref();
        let (head, counts) = (&generation.head, generation.counts);
        bodies::chat(&mut out, head, &generation.pieces(), counts, transfer);
        Ok(json(StatusCode::OK, out))
    }

    pub(crate) async fn completion(&self, call: &Call, body: Bytes) -> Result<Answer, ApiError> {
        let request: CompletionRequest = decode(&body, validate::COMPLETION)?;
        drop(body);
        let echo = match &request.prompt {
            Prompt::Text(text) => Some(text.clone()),
            _ => None,
        };
        let generation = self.generate(Ask {
            model: &request.model,
            prompts: prompts(request.prompt),
            sampling: &request.sampling,
            default_limit: Some(COMPLETION_LIMIT),
            echo: echo.as_deref(),
            with_prompt: request.echo == Some(true),
            logprobs: request.logprobs.is_some(),
            id: self.answer_id("cmpl-", call),
            local: call.local,
        });
        let mut generation = generation.await?;
        if request.sampling.is_stream() {
            let options = request.sampling.stream_options;
            let fate = call.fate.stream;
            return Ok(stream::answer(
                generation,
                StreamKind::Completion,
                options,
                fate,
            ));
        }
        generation.complete().await?;
        let mut out = Vec::with_capacity(2048);
        let transfer = generation.kv_transfer.as_ref();
        let (head, counts) = (&generation.head, generation.counts);
        bodies::completion(&mut out, head, &generation.pieces(), counts, transfer);
        Ok(json(StatusCode::OK, out))
    }
}
