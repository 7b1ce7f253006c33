//! The recorded requests, sent again: the answers must have the shape of the recorded ones.

use http::Method;
use rstest::rstest;
use serde_json::Value;

use crate::shape::Shape;
use crate::support::{Reply, TestEngine, events, start};

const LINE: &str = "vllm serve tiny --max-model-len 4096 --block-size 32 --max-num-seqs 16 \
                    --enable-prompt-tokens-details --sim-speed 20";

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/vllm-0.32/", $name, ".txt"))
    };
}

/// Sends the recorded request; status and content type must be as recorded.
async fn replay(engine: &TestEngine, name: &str) -> Reply {
    let index: Value =
        serde_json::from_str(include_str!("../fixtures/vllm-0.32/index.json")).unwrap();
    let entry = &index[name];
    let (method, path) = entry["request"].as_str().unwrap().split_once(' ').unwrap();
    let body = match &entry["body"] {
        Value::Null => String::new(),
        Value::String(raw) => raw.clone(),
        body => body.to_string(),
    };
    let method: Method = method.parse().unwrap();
    let reply = engine.call(method, path, &[], body).await;
    let content_type = reply
        .headers
        .get("content-type")
        .map(|value| value.to_str().unwrap());
    assert_eq!(
        Some(u64::from(reply.status.as_u16())),
        entry["status"].as_u64()
    );
    assert_eq!(content_type, entry["content_type"].as_str());
    reply
}

#[rstest]
#[case::models("models", fixture!("models"))]
#[case::version("version", fixture!("version"))]
#[case::chat("chat", fixture!("chat"))]
#[case::completion("completion", fixture!("completion"))]
#[case::completion_array("completion_array", fixture!("completion_array"))]
#[case::completion_token_ids("completion_token_ids", fixture!("completion_token_ids"))]
#[case::responses("responses", fixture!("responses"))]
#[case::tokenize_chat("tokenize_chat", fixture!("tokenize_chat"))]
#[case::tokenize_text("tokenize_text", fixture!("tokenize_text"))]
#[tokio::test]
async fn members_order_and_types_are_as_recorded(#[case] name: &str, #[case] recorded: &[u8]) {
    let engine = start(LINE).await;
    let reply = replay(&engine, name).await;
    assert_eq!(
        Shape::of(&reply.body),
        Shape::of(recorded),
        "{}",
        reply.text()
    );
}

#[rstest]
#[case::bad_json("error_bad_json", fixture!("error_bad_json"))]
#[case::bad_type("error_bad_type", fixture!("error_bad_type"))]
#[case::no_embeddings("error_no_embeddings", fixture!("error_no_embeddings"))]
#[case::too_long("error_too_long", fixture!("error_too_long"))]
#[case::unknown_model("error_unknown_model", fixture!("error_unknown_model"))]
#[case::version("version", fixture!("version"))]
#[case::health("health", fixture!("health"))]
#[tokio::test]
async fn errors_are_as_recorded_to_the_byte(#[case] name: &str, #[case] recorded: &[u8]) {
    let engine = start(LINE).await;
    let reply = replay(&engine, name).await;
    assert_eq!(reply.text(), std::str::from_utf8(recorded).unwrap());
}

#[rstest]
#[case::plain("chat_stream", fixture!("chat_stream"))]
#[case::usage("chat_stream_usage", fixture!("chat_stream_usage"))]
#[case::continuous("chat_stream_continuous_usage", fixture!("chat_stream_continuous_usage"))]
#[case::two_choices("completion_stream_n2", fixture!("completion_stream_n2"))]
#[tokio::test]
async fn streams_bring_the_recorded_chunks(#[case] name: &str, #[case] recorded: &[u8]) {
    let engine = start(LINE).await;
    let reply = replay(&engine, name).await;
    let (ours, real) = (events(&reply.body), events(recorded));
    assert_eq!(ours.len(), real.len(), "{}", reply.text());
    for (ours, real) in ours.iter().zip(&real) {
        if real.data == "[DONE]" {
            assert_eq!(ours.data, "[DONE]");
        } else {
            assert_eq!(
                Shape::of(ours.data.as_bytes()),
                Shape::of(real.data.as_bytes()),
                "{}",
                ours.data
            );
        }
    }
    // The same bytes between the events, too.
    let frame = |body: &[u8]| body.windows(6).filter(|part| part == b"data: ").count();
    assert_eq!(frame(&reply.body), frame(recorded));
    assert!(reply.body.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_repeated_chat_is_cached_but_for_the_last_block() {
    let engine = start(LINE).await;
    let first = replay(&engine, "chat").await.json();
    let again = replay(&engine, "chat_again_cached").await.json();
    let prompt = first["usage"]["prompt_tokens"].as_u64().unwrap();
    let details = &again["usage"]["prompt_tokens_details"];
    assert_eq!(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(details["cached_tokens"], (prompt - 1) / 32 * 32);
    assert_eq!(
        first["usage"]["prompt_tokens_details"]["created_cache_tokens"],
        prompt / 32 * 32
    );
    assert_eq!(first["choices"], again["choices"]);
}

#[tokio::test]
async fn metrics_count_what_was_replayed() {
    let engine = start(LINE).await;
    for name in ["chat", "chat_stream", "completion_stream_n2"] {
        replay(&engine, name).await;
    }
    assert_eq!(
        engine.metric("vllm:request_success_total", "length").await,
        4.0
    );
    assert_eq!(
        engine.metric("vllm:generation_tokens_total", "").await,
        22.0
    );
    assert_eq!(
        engine
            .metric("vllm:time_to_first_token_seconds_count", "")
            .await,
        4.0
    );
    assert_eq!(
        engine
            .metric("vllm:inter_token_latency_seconds_count", "")
            .await,
        18.0
    );
    assert_eq!(
        engine
            .metric("http_requests_total", "/v1/chat/completions")
            .await,
        2.0
    );
    engine
        .until_metric("vllm:num_requests_running", "", 0.0)
        .await;
}
