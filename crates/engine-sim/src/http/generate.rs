//! From a decoded request to tokens on their way: the part chat, completions, responses and the
//! native endpoints share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kthena_wire::sampling::Sampling;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Server;
use super::bodies::{Counts, End, Head, Piece};
use super::respond::ApiError;
use crate::batch::{After, NewRequest, Prefill};
use crate::core::{Half, Job, Part, TokenEvent};
use crate::text::answer::{self, Answer, AnswerRequest};
use crate::text::tokenizer;

/// Choices a caller may ask for.
const MAX_CHOICES: u64 = 128;

/// What a request asks for, whatever endpoint it came to.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// The model member; empty for the base model.
    pub(crate) model: &'a str,
    /// Tokens of each prompt.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) sampling: &'a Sampling,
    /// Token limit when the caller sets none; what fits, unless given.
    pub(crate) default_limit: Option<u64>,
    /// What an echoing engine answers with.
    pub(crate) echo: Option<&'a str>,
    /// Put the prompt in front of the text.
    pub(crate) with_prompt: bool,
    pub(crate) logprobs: bool,
    /// Id of the answer, with its prefix.
    pub(crate) id: String,
    /// The address the request came to.
    pub(crate) local: SocketAddr,
}

/// One choice and how far it has come.
#[derive(Debug)]
pub(crate) struct Choice {
    index: u32,
    answer: Answer,
    /// The whole text, the prompt included where it was asked for.
    text: String,
    /// Bytes of the prompt in front; they come out with the first token.
    ahead: usize,
    /// Bytes of the text that have come out.
    at: usize,
    /// Tokens that have come out.
    done: usize,
    ended: bool,
    logprobs: bool,
}

impl Choice {
    /// The whole choice.
    fn whole(&self) -> Piece<'_> {
        Piece {
            index: self.index,
            text: &self.text,
            end: Some(self.end()),
            logprobs: self.logprobs.then_some((&self.answer.tokens, 0)),
        }
    }

    fn end(&self) -> End<'_> {
        End {
            finish: self.answer.finish,
            stop: self.answer.stop.as_deref(),
        }
    }

    /// What the next token adds.
    pub(crate) fn advance(&mut self, event: TokenEvent) -> Piece<'_> {
        let start = self.at;
        let mut bytes = Vec::new();
        tokenizer::decode_into(event.token, &mut bytes);
        self.ended = event.finish.is_some();
        self.at = if self.ended {
            self.text.len()
        } else {
            let ahead = std::mem::take(&mut self.ahead);
            self.text.floor_char_boundary(start + ahead + bytes.len())
        };
        let token = self.done..(self.done + 1).min(self.answer.tokens.len());
        self.done += 1;
        Piece {
            index: self.index,
            text: &self.text[start..self.at],
            end: self.ended.then_some(self.end()),
            logprobs: self.logprobs.then_some((&self.answer.tokens[token], start)),
        }
    }

    /// Tokens that have come out.
    pub(crate) fn tokens(&self) -> u64 {
        self.done as u64
    }

    fn put_in_front(&mut self, prompt: &str) {
        self.text.insert_str(0, prompt);
        self.ahead = prompt.len();
    }
}

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) head: Head,
    pub(crate) choices: Vec<Choice>,
    /// Prompt tokens over all prompts; the rest grows with the events.
    pub(crate) counts: Counts,
    pub(crate) kv_transfer: Option<Value>,
    pub(crate) events: mpsc::Receiver<TokenEvent>,
    block_size: u64,
    choices_per_prompt: u32,
    open: usize,
}

impl Generation {
    /// Books an event. True once every choice has ended.
    pub(crate) fn book(&mut self, event: TokenEvent) -> bool {
        self.counts.completion += 1;
        let choice = &self.choices[event.choice as usize];
        if choice.done == 0 && event.choice.is_multiple_of(self.choices_per_prompt) {
            self.counts.cached += u64::from(event.cached_tokens);
            let full = self.counts.prompt / self.block_size * self.block_size;
            self.counts.created_cache = full.saturating_sub(self.counts.cached);
        }
        if event.finish.is_some() {
            self.open -= 1;
        }
        self.open == 0
    }

    /// Waits for all choices.
    pub(crate) async fn complete(&mut self) -> Result<(), ApiError> {
        loop {
            let Some(event) = self.events.recv().await else {
                let message = "the engine stopped before the answer was complete";
                return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message));
            };
            let done = self.book(event);
            self.choices[event.choice as usize].done += 1;
            if done {
                return Ok(());
            }
        }
    }

    /// All choices, whole.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        self.choices.iter().map(Choice::whole).collect()
    }
}

impl Server {
    /// Checks a request, plans its answer and hands it to the engine.
    pub(crate) async fn generate(&self, ask: Ask<'_>) -> Result<Generation, ApiError> {
        let config = &self.handle.shared.config;
        let (model, adapter) = self.resolve_model(ask.model)?;
        check_stream(ask.sampling)?;
        let choices_per_prompt = ask.sampling.n.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&choices_per_prompt) {
            let message =
                format!("n must be between 1 and {MAX_CHOICES}, got {choices_per_prompt}.");
            return Err(ApiError::bad_request(message).at("n"));
        }
        let mut choices = Vec::new();
        let mut parts = Vec::new();
        let mut counts = Counts {
            details: config.prompt_token_details,
            ..Counts::default()
        };
        for prompt in &ask.prompts {
            let limit = self.limit(&ask, prompt.len() as u64)?;
            check_least(ask.sampling, limit)?;
            counts.prompt += prompt.len() as u64;
            for copy in 0..choices_per_prompt {
                let index = choices.len() as u32;
                let choice = self.plan(&ask, prompt, limit, copy, index);
                parts.push(Self::part(prompt, &choice, adapter.clone()));
                choices.push(choice);
            }
            self.handle.shared.with_metrics(|metrics| {
                metrics.record_request(choices_per_prompt as u32, limit);
            });
        }
        let room: usize = choices
            .iter()
            .map(|choice| choice.answer.tokens.len())
            .sum();
        let (tokens, events) = mpsc::channel(room.max(1));
        let kv_transfer = self.share(&ask, &choices, &mut parts).await?;
        if !self.handle.submit(Job { parts, tokens }).await {
            let message = "the engine has stopped";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        Ok(Generation {
            head: Head {
                dialect: config.dialect,
                id: ask.id,
                created: crate::core::seconds_since_1970() as i64,
                model,
            },
            open: choices.len(),
            choices,
            counts,
            kv_transfer,
            events,
            block_size: u64::from(config.batch.cache.block_size),
            choices_per_prompt: choices_per_prompt as u32,
        })
    }

    /// The name answers carry and the adapter to apply.
    pub(crate) fn resolve_model(&self, name: &str) -> Result<(String, Option<Arc<str>>), ApiError> {
        let config = &self.handle.shared.config;
        if name.is_empty() || config.served_names.iter().any(|served| served == name) {
            return Ok((config.served_name().to_owned(), None));
        }
        let adapter = self.handle.shared.with_adapters(|adapters| {
            let found = adapters
                .iter()
                .find(|adapter| adapter.name.as_ref() == name);
            found.map(|adapter| adapter.name.clone())
        });
        if let Some(name) = adapter {
            return Ok((name.to_string(), Some(name)));
        }
        let aliases = config.served_names.join(", ");
        let message = format!("The model `{name}` does not exist. Valid aliases: {aliases}.");
        Err(ApiError::new(StatusCode::NOT_FOUND, message).at("model"))
    }

    /// Most tokens of an answer to a prompt of `prompt` tokens.
    fn limit(&self, ask: &Ask<'_>, prompt: u64) -> Result<u64, ApiError> {
        let context = u64::from(self.handle.shared.config.batch.max_model_len);
        if prompt == 0 {
            return Err(ApiError::bad_request(
                "The prompt must have at least one token.",
            ));
        }
        if prompt >= context {
            let value = context + 1;
            let message = format!(
                "This model's maximum context length is {context} tokens. However, your prompt contains at \
                 least {value} input tokens, which exceeds this limit even without any output tokens. Please \
                 reduce the length of the input prompt. (parameter=input_tokens, value={value})"
            );
            return Err(ApiError::bad_request(message).at("input_tokens"));
        }
        let room = context - prompt;
        match ask.sampling.token_limit() {
            Some(0) => {
                let message = "max_tokens must be at least 1, got 0.";
                Err(ApiError::bad_request(message).at("max_tokens"))
            }
            Some(limit) if limit > room => {
                let message = format!(
                    "The context of this model is {context} tokens; {prompt} of the prompt and {limit} of the \
                     answer do not fit. Ask for at most {room}."
                );
                Err(ApiError::bad_request(message).at("max_tokens"))
            }
            Some(limit) => Ok(limit),
            None => Ok(ask.default_limit.unwrap_or(room).min(room)),
        }
    }

    fn plan(&self, ask: &Ask<'_>, prompt: &[u32], limit: u64, copy: u64, index: u32) -> Choice {
        let config = &self.handle.shared.config;
        let sampling = ask.sampling;
        // The caller's seed and the engine's set answers apart, and so does the copy.
        let seed = sampling.seed.unwrap_or_default().cast_unsigned() ^ config.seed;
        let answer = answer::plan(&AnswerRequest {
            prompt,
            seed: seed.wrapping_add(copy << 32),
            max_tokens: limit,
            min_tokens: sampling.min_tokens.unwrap_or(0),
            ignore_end: sampling.ignore_eos.unwrap_or(false),
            stop: sampling.stop.as_ref().map_or(&[], |stop| stop.texts()),
            echo: ask.echo.filter(|_| config.echo),
        });
        let mut text = tokenizer::decode(&answer.tokens);
        text.truncate(text.floor_char_boundary(answer.text_len));
        let mut choice = Choice {
            index,
            answer,
            text,
            ahead: 0,
            at: 0,
            done: 0,
            ended: false,
            logprobs: ask.logprobs,
        };
        if ask.with_prompt {
            choice.put_in_front(&tokenizer::decode(prompt));
        }
        choice
    }

    fn part(prompt: &[u32], choice: &Choice, adapter: Option<Arc<str>>) -> Part {
        let request = NewRequest {
            id: 0,
            prompt: prompt.to_vec(),
            output: choice.answer.tokens.clone(),
            finish: choice.answer.finish,
            adapter,
            prefill: Prefill::Local,
            after: After::Free,
            arrived: Duration::ZERO,
        };
        Part {
            request,
            choice: choice.index,
            half: Half::Both,
        }
    }

    /// Settles which half of the request is done here. Engines share single prompts, so it is the
    /// first choice that counts.
    async fn share(
        &self,
        ask: &Ask<'_>,
        choices: &[Choice],
        parts: &mut [Part],
    ) -> Result<Option<Value>, ApiError> {
        let (Some(choice), Some(part)) = (choices.first(), parts.first_mut()) else {
            return Ok(None);
        };
        let finish = choice.answer.finish;
        let prompt = part.request.prompt.len();
        let half = self.half(ask.sampling, finish, prompt, ask.local);
        let (half, offer) = half.await?;
        part.half = half;
        Ok(offer)
    }
}

/// Stream options without a stream are refused by the real engines as well.
fn check_stream(sampling: &Sampling) -> Result<(), ApiError> {
    if sampling.stream_options.is_none() || sampling.is_stream() {
        return Ok(());
    }
    let message = "Stream options can only be defined when `stream=True`.";
    Err(ApiError::bad_request(message).at("stream_options"))
}

fn check_least(sampling: &Sampling, limit: u64) -> Result<(), ApiError> {
    match sampling.min_tokens {
        Some(least) if least > limit => {
            let message = format!("min_tokens must be at most max_tokens={limit}, got {least}.");
            Err(ApiError::bad_request(message).at("min_tokens"))
        }
        _ => Ok(()),
    }
}
