//! Answers as the engines spell them: member names, their order, what is null.
//!
//! [`Dialect`] chooses between `vllm` and `sglang`; everything else calls the functions here.

mod sglang;
mod vllm;

use serde::Serialize;
use serde_json::Value;

use super::json::Object;
use crate::batch::FinishReason;
use crate::config::Dialect;
use crate::text::tokenizer;

/// What every body of an answer repeats.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) dialect: Dialect,
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) model: String,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) cached: u64,
    /// Tokens of full blocks this request put into the cache.
    pub(crate) created_cache: u64,
    /// Whether to say which were cached.
    pub(crate) details: bool,
}

impl Counts {
    pub(crate) fn total(self) -> u64 {
        self.prompt + self.completion
    }
}

/// How a choice ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) finish: FinishReason,
    pub(crate) stop: Option<&'a str>,
}

/// A choice, or what a chunk adds to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) index: u32,
    pub(crate) text: &'a str,
    pub(crate) end: Option<End<'a>>,
    /// Tokens to give log probabilities of, and the byte they start at; none when not asked for.
    pub(crate) logprobs: Option<(&'a [u32], usize)>,
}

impl Piece<'_> {
    fn finish(&self) -> Option<&'static str> {
        self.end.map(|end| finish_name(end.finish))
    }

    fn stop(&self) -> Option<&str> {
        self.end.and_then(|end| end.stop)
    }
}

/// What stands at the end of a chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tail {
    /// Usage so far.
    pub(crate) usage: Option<Counts>,
    /// This chunk is the last but for the end mark.
    pub(crate) last: bool,
}

fn finish_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Abort => "abort",
        FinishReason::Error => "error",
    }
}

fn opened<'a>(out: &'a mut Vec<u8>, head: &Head, object: &str) -> Object<'a> {
    Object::new(out)
        .put("id", &head.id)
        .put("object", object)
        .put("created", head.created)
        .put("model", &head.model)
}

/// A whole chat answer.
pub(crate) fn chat(
    out: &mut Vec<u8>,
    head: &Head,
    pieces: &[Piece<'_>],
    counts: Counts,
    kv_transfer: Option<&Value>,
) {
    match head.dialect {
        Dialect::Vllm => vllm::chat(out, head, pieces, counts, kv_transfer),
        Dialect::Sglang => sglang::chat(out, head, pieces, counts),
    }
}

/// The chunk that opens a choice of a chat stream.
pub(crate) fn chat_open(out: &mut Vec<u8>, head: &Head, index: u32, tail: Tail) {
    match head.dialect {
        Dialect::Vllm => vllm::chat_open(out, head, index, tail),
        Dialect::Sglang => sglang::chat_open(out, head, index, tail),
    }
}

/// A chunk of a chat stream.
pub(crate) fn chat_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    match head.dialect {
        Dialect::Vllm => vllm::chat_chunk(out, head, piece, tail),
        Dialect::Sglang => sglang::chat_chunk(out, head, piece, tail),
    }
}

/// A whole text completion.
pub(crate) fn completion(
    out: &mut Vec<u8>,
    head: &Head,
    pieces: &[Piece<'_>],
    counts: Counts,
    kv_transfer: Option<&Value>,
) {
    match head.dialect {
        Dialect::Vllm => vllm::completion(out, head, pieces, counts, kv_transfer),
        Dialect::Sglang => sglang::completion(out, head, pieces, counts),
    }
}

/// A chunk of a completion stream.
pub(crate) fn completion_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    match head.dialect {
        Dialect::Vllm => vllm::completion_chunk(out, head, piece, tail),
        Dialect::Sglang => sglang::completion_chunk(out, head, piece, tail),
    }
}

/// The chunk that carries only usage.
pub(crate) fn usage_chunk(out: &mut Vec<u8>, head: &Head, chat: bool, counts: Counts) {
    match head.dialect {
        Dialect::Vllm => vllm::usage_chunk(out, head, chat, counts),
        Dialect::Sglang => sglang::usage_chunk(out, head, chat, counts),
    }
}

/// A made-up log probability: steady for a token, and never certain.
fn logprob(token: u32) -> f64 {
    -f64::from(token % 97 + 3) / 100.0
}

#[derive(Serialize)]
struct TokenLogprob {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    top_logprobs: [u8; 0],
}

/// `{"content":[…]}` or null.
fn chat_logprobs(out: &mut Vec<u8>, piece: &Piece<'_>) {
    let Some((tokens, _)) = piece.logprobs else {
        return out.extend_from_slice(b"null");
    };
    Object::new(out)
        .list("content", tokens, |out, token| {
            let text = tokenizer::decode(&[*token]);
            let entry = TokenLogprob {
                bytes: text.clone().into_bytes(),
                token: text,
                logprob: logprob(*token),
                top_logprobs: [],
            };
            super::json::value(out, &entry);
        })
        .end();
}

/// Parallel lists, or null.
fn completion_logprobs(out: &mut Vec<u8>, piece: &Piece<'_>) {
    let Some((tokens, start)) = piece.logprobs else {
        return out.extend_from_slice(b"null");
    };
    let texts: Vec<String> = tokens
        .iter()
        .map(|token| tokenizer::decode(&[*token]))
        .collect();
    let offsets = texts.iter().scan(start, |at, text| {
        let offset = *at;
        *at += text.len();
        Some(offset)
    });
    let values: Vec<f64> = tokens.iter().map(|token| logprob(*token)).collect();
    Object::new(out)
        .put("text_offset", offsets.collect::<Vec<_>>())
        .put("token_logprobs", &values)
        .put("tokens", &texts)
        .list(
            "top_logprobs",
            texts.iter().zip(&values),
            |out, (text, value)| {
                Object::new(out).put(text, value).end();
            },
        )
        .end();
}
