use serde_json::{Value, json};

use super::*;

#[test]
fn unknown_members_pass_through() {
    let body = json!({
        "model": "m",
        "messages": [{"role": "user", "content": "hi", "name": "ann"}],
        "stream": true,
        "stream_options": {"include_usage": true},
        "max_tokens": 5,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "kv_transfer_params": {"remote_block_ids": [1, 18_446_744_073_709_551_615_u64]},
        "x_vendor": null,
    });
    let request: ChatRequest = serde_json::from_value(body.clone()).unwrap();
    assert!(request.sampling.is_stream());
    assert_eq!(serde_json::to_value(&request).unwrap(), body);
}

#[test]
fn newer_token_limit_wins() {
    let mut request = ChatRequest::new("m", "hi");
    request.sampling.max_tokens = Some(5);
    assert_eq!(request.sampling.token_limit(), Some(5));
    request.sampling.max_completion_tokens = Some(3);
    assert_eq!(request.sampling.token_limit(), Some(3));
}

#[test]
fn text_of_parts_is_joined_and_other_parts_are_kept() {
    let message: Message = serde_json::from_value(json!({
        "role": "user",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "x"}},
            {"type": "text", "text": "b"},
        ],
    }))
    .unwrap();
    let mut text = String::new();
    message.push_text(&mut text);
    assert_eq!(text, "a\nb");
    let back = serde_json::to_value(&message).unwrap();
    assert_eq!(back["content"][1]["image_url"]["url"], Value::from("x"));
}

#[test]
fn a_chunk_without_choices_has_usage_and_no_text() {
    let chunk: ChatChunk = serde_json::from_value(json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2},
        "system_fingerprint": "f",
    }))
    .unwrap();
    assert_eq!(chunk.text(), "");
    assert_eq!(chunk.usage.unwrap().total(), 5);
    assert_eq!(chunk.extra["system_fingerprint"], "f");
}
