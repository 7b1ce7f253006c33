//! The SGLang dialect.

use http::StatusCode;
use serde_json::{Value, json};

use crate::shape::Shape;
use crate::support::{TestEngine, start};

async fn engine() -> TestEngine {
    start("python3 -m sglang.launch_server --model-path m-7b --lora-paths a=/a --sim-speed 50")
        .await
}

fn members(shape: Shape) -> Vec<String> {
    match shape {
        Shape::Object(members) => members.into_iter().map(|(name, _)| name).collect(),
        other => panic!("{other:?} is no object"),
    }
}

#[tokio::test]
async fn chat_has_the_members_of_sglang() {
    let engine = engine().await;
    let body =
        json!({"model": "m-7b", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2});
    let reply = engine.chat(body).await;
    assert_eq!(
        members(Shape::of(&reply.body)),
        [
            "id", "object", "created", "model", "choices", "usage", "metadata"
        ]
    );
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length");
    assert!(reply.json()["choices"][0].get("matched_stop").is_some());
}

#[tokio::test]
async fn streams_end_with_usage_when_asked() {
    let body = json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3,
        "stream": true, "stream_options": {"include_usage": true},
    });
    let events = engine().await.chat(body).await.events();
    assert_eq!(events[1]["usage"], Value::Null);
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn native_endpoints_answer() {
    let engine = engine().await;
    assert_eq!(engine.get("/health_generate").await.status, StatusCode::OK);
    assert_eq!(
        engine.get("/get_model_info").await.json()["model_path"],
        "m-7b"
    );
    assert_eq!(engine.get("/get_server_info").await.json()["tp_size"], 1);
    let body = json!({"text": "once", "sampling_params": {"max_new_tokens": 4}});
    let reply = engine.post("/generate", body).await.json();
    assert_eq!(reply["meta_info"]["completion_tokens"], 4);
    assert_eq!(reply["meta_info"]["finish_reason"]["type"], "length");
    assert_eq!(
        engine.post("/flush_cache", Value::Null).await.status,
        StatusCode::OK
    );
    assert_eq!(engine.get("/version").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_have_the_names_of_sglang() {
    let engine = engine().await;
    let body = json!({"text": "once", "sampling_params": {"max_new_tokens": 4}});
    engine.post("/generate", body).await;
    assert_eq!(
        engine.metric("sglang:generation_tokens_total", "").await,
        4.0
    );
    assert_eq!(
        engine
            .metric("sglang:num_running_reqs", "tp_rank=\"0\"")
            .await,
        0.0
    );
    assert_eq!(
        engine
            .metric("sglang:time_to_first_token_seconds_count", "m-7b")
            .await,
        1.0
    );
}

#[tokio::test]
async fn adapters_answer_with_json() {
    let engine = engine().await;
    let body = json!({"lora_name": "b", "lora_path": "/b"});
    let reply = engine.post("/load_lora_adapter", body).await.json();
    assert_eq!(reply["success"], true);
    assert_eq!(reply["loaded_adapters"]["b"], "/b");
    let models = engine.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["owned_by"], "sglang");
    assert_eq!(models["data"].as_array().unwrap().len(), 3);
}
