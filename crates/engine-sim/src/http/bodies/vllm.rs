//! Bodies as vLLM 0.32 sends them.

use serde_json::Value;

use super::{Counts, Head, Piece, Tail, chat_logprobs, completion_logprobs, opened};
use crate::http::json::Object;

/// Stands in the place of a build's fingerprint.
const FINGERPRINT: &str = "vllm-0.32.0-simulated";

const CHAT_MESSAGE_NULLS: &[&str] = &[
    "refusal",
    "annotations",
    "audio",
    "function_call",
    "reasoning",
];

pub(super) fn chat(
    out: &mut Vec<u8>,
    head: &Head,
    pieces: &[Piece<'_>],
    counts: Counts,
    kv_transfer: Option<&Value>,
) {
    opened(out, head, "chat.completion")
        .list("choices", pieces, |out, piece| {
            Object::new(out)
                .put("index", piece.index)
                .with("message", |out| {
                    Object::new(out)
                        .put("role", "assistant")
                        .put("content", piece.text)
                        .nulls(CHAT_MESSAGE_NULLS)
                        .end();
                })
                .with("logprobs", |out| chat_logprobs(out, piece))
                .put("finish_reason", piece.finish())
                .put("stop_reason", piece.stop())
                .nulls(&["token_ids", "routed_experts"])
                .end();
        })
        .nulls(&["service_tier"])
        .put("system_fingerprint", FINGERPRINT)
        .with("usage", |out| whole_usage(out, counts, true))
        .nulls(&["prompt_logprobs", "prompt_token_ids", "prompt_text"])
        .put("kv_transfer_params", kv_transfer)
        .nulls(&["ec_transfer_params", "metrics"])
        .end();
}

pub(super) fn completion(
    out: &mut Vec<u8>,
    head: &Head,
    pieces: &[Piece<'_>],
    counts: Counts,
    kv_transfer: Option<&Value>,
) {
    opened(out, head, "text_completion")
        .list("choices", pieces, |out, piece| {
            Object::new(out)
                .put("index", piece.index)
                .put("text", piece.text)
                .with("logprobs", |out| completion_logprobs(out, piece))
                .put("finish_reason", piece.finish())
                .put("stop_reason", piece.stop())
                .nulls(&[
                    "token_ids",
                    "prompt_logprobs",
                    "prompt_token_ids",
                    "routed_experts",
                ])
                .end();
        })
        .nulls(&["service_tier"])
        .put("system_fingerprint", FINGERPRINT)
        .with("usage", |out| whole_usage(out, counts, false))
        .put("kv_transfer_params", kv_transfer)
        .nulls(&["ec_transfer_params", "metrics"])
        .end();
}

/// Only chat says how many tokens it put into the cache.
fn whole_usage(out: &mut Vec<u8>, counts: Counts, chat: bool) {
    let created = chat.then_some(counts.created_cache);
    usage(out, counts)
        .with("prompt_tokens_details", |out| {
            if !counts.details {
                return out.extend_from_slice(b"null");
            }
            Object::new(out)
                .put("cached_tokens", counts.cached)
                .put("created_cache_tokens", created)
                .nulls(&["multimodal_tokens"])
                .end();
        })
        .nulls(&["completion_tokens_details"])
        .end();
}

fn usage(out: &mut Vec<u8>, counts: Counts) -> Object<'_> {
    Object::new(out)
        .put("prompt_tokens", counts.prompt)
        .put("total_tokens", counts.total())
        .put("completion_tokens", counts.completion)
}

fn usage_so_far(object: Object<'_>, counts: Counts) -> Object<'_> {
    object.with("usage", |out| {
        usage(out, counts)
            .nulls(&["completion_tokens_details"])
            .end();
    })
}

fn fingerprint(object: Object<'_>, tail: Tail) -> Object<'_> {
    object.maybe(tail.last.then_some(FINGERPRINT), |object, print| {
        object.put("system_fingerprint", print)
    })
}

pub(super) fn chat_open(out: &mut Vec<u8>, head: &Head, index: u32, tail: Tail) {
    opened(out, head, "chat.completion.chunk")
        .list("choices", [index], |out, index| {
            Object::new(out)
                .put("index", index)
                .with("delta", |out| {
                    Object::new(out)
                        .put("role", "assistant")
                        .put("content", "")
                        .end();
                })
                .nulls(&["logprobs", "finish_reason"])
                .end();
        })
        .maybe(tail.usage, usage_so_far)
        .nulls(&["prompt_token_ids", "prompt_text"])
        .end();
}

pub(super) fn chat_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    let object = opened(out, head, "chat.completion.chunk")
        .list("choices", [piece], |out, piece| {
            Object::new(out)
                .put("index", piece.index)
                .with("delta", |out| {
                    Object::new(out).put("content", piece.text).end();
                })
                .with("logprobs", |out| chat_logprobs(out, piece))
                .put("finish_reason", piece.finish())
                .maybe(piece.end, |choice, end| choice.put("stop_reason", end.stop))
                .nulls(&["token_ids"])
                .end();
        })
        .maybe(tail.usage, usage_so_far);
    fingerprint(object, tail).end();
}

pub(super) fn completion_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    let object = opened(out, head, "text_completion")
        .list("choices", [piece], |out, piece| {
            Object::new(out)
                .put("index", piece.index)
                .put("text", piece.text)
                .with("logprobs", |out| completion_logprobs(out, piece))
                .put("finish_reason", piece.finish())
                .put("stop_reason", piece.stop())
                .nulls(&["prompt_token_ids", "token_ids"])
                .end();
        })
        .maybe(tail.usage, usage_so_far);
    fingerprint(object, tail).end();
}

pub(super) fn usage_chunk(out: &mut Vec<u8>, head: &Head, chat: bool, counts: Counts) {
    let object = if chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    opened(out, head, object)
        .list("choices", [0; 0], |_, _| {})
        .with("usage", |out| {
            let details = counts.details.then_some(counts.cached);
            usage(out, counts)
                .maybe(details, |usage, cached| {
                    usage.with("prompt_tokens_details", |out| {
                        Object::new(out)
                            .put("cached_tokens", cached)
                            .maybe(chat.then_some(counts.created_cache), |details, created| {
                                details.put("created_cache_tokens", created)
                            })
                            .end();
                    })
                })
                .end();
        })
        .put("system_fingerprint", FINGERPRINT)
        .end();
}
