//! Bodies as SGLang sends them.

use super::{Counts, Head, Piece, Tail, chat_logprobs, completion_logprobs, opened};
use crate::http::json::Object;

pub(super) fn chat(out: &mut Vec<u8>, head: &Head, pieces: &[Piece<'_>], counts: Counts) {
    let object = opened(out, head, "chat.completion").list("choices", pieces, |out, piece| {
        Object::new(out)
            .put("index", piece.index)
            .with("message", |out| {
                Object::new(out)
                    .put("role", "assistant")
                    .put("content", piece.text)
                    .nulls(&["reasoning_content", "tool_calls"])
                    .end();
            })
            .with("logprobs", |out| chat_logprobs(out, piece))
            .put("finish_reason", piece.finish())
            .put("matched_stop", piece.stop())
            .end();
    });
    closed(object, counts);
}

pub(super) fn completion(out: &mut Vec<u8>, head: &Head, pieces: &[Piece<'_>], counts: Counts) {
    let object = opened(out, head, "text_completion").list("choices", pieces, text_choice);
    closed(object, counts);
}

fn text_choice(out: &mut Vec<u8>, piece: &Piece<'_>) {
    Object::new(out)
        .put("index", piece.index)
        .put("text", piece.text)
        .with("logprobs", |out| completion_logprobs(out, piece))
        .put("finish_reason", piece.finish())
        .put("matched_stop", piece.stop())
        .end();
}

fn closed(object: Object<'_>, counts: Counts) {
    object
        .with("usage", |out| usage(out, counts))
        .with("metadata", |out| {
            Object::new(out).put("weight_version", "default").end();
        })
        .end();
}

fn usage(out: &mut Vec<u8>, counts: Counts) {
    Object::new(out)
        .put("prompt_tokens", counts.prompt)
        .put("total_tokens", counts.total())
        .put("completion_tokens", counts.completion)
        .with("prompt_tokens_details", |out| {
            if counts.details {
                Object::new(out).put("cached_tokens", counts.cached).end();
            } else {
                out.extend_from_slice(b"null");
            }
        })
        .put("reasoning_tokens", 0)
        .end();
}

fn tailed(object: Object<'_>, tail: Tail) {
    object
        .with("usage", |out| match tail.usage {
            Some(counts) => usage(out, counts),
            None => out.extend_from_slice(b"null"),
        })
        .end();
}

pub(super) fn chat_open(out: &mut Vec<u8>, head: &Head, index: u32, tail: Tail) {
    let object =
        opened(out, head, "chat.completion.chunk").list("choices", [index], |out, index| {
            Object::new(out)
                .put("index", index)
                .with("delta", |out| {
                    Object::new(out)
                        .put("role", "assistant")
                        .put("content", "")
                        .nulls(&["reasoning_content", "tool_calls"])
                        .end();
                })
                .nulls(&["logprobs", "finish_reason", "matched_stop"])
                .end();
        });
    tailed(object, tail);
}

pub(super) fn chat_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    let object =
        opened(out, head, "chat.completion.chunk").list("choices", [piece], |out, piece| {
            Object::new(out)
                .put("index", piece.index)
                .with("delta", |out| {
                    Object::new(out)
                        .nulls(&["role"])
                        .put("content", piece.text)
                        .nulls(&["reasoning_content", "tool_calls"])
                        .end();
                })
                .with("logprobs", |out| chat_logprobs(out, piece))
                .put("finish_reason", piece.finish())
                .put("matched_stop", piece.stop())
                .end();
        });
    tailed(object, tail);
}

pub(super) fn completion_chunk(out: &mut Vec<u8>, head: &Head, piece: &Piece<'_>, tail: Tail) {
    let object = opened(out, head, "text_completion").list("choices", [piece], text_choice);
    tailed(object, tail);
}

pub(super) fn usage_chunk(out: &mut Vec<u8>, head: &Head, chat: bool, counts: Counts) {
    let object = if chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    let object = opened(out, head, object).list("choices", [0; 0], |_, _| {});
    tailed(
        object,
        Tail {
            usage: Some(counts),
            last: true,
        },
    );
}
