//! Adapters that come and go.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{TestEngine, start};

const LINE: &str =
    "vllm serve m-7b --enable-lora --max-loras 2 --lora-modules a=/adapters/a --sim-speed 50";

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2})
}

async fn names(engine: &TestEngine) -> Vec<String> {
    let models = engine.get("/v1/models").await.json();
    let data = models["data"].as_array().unwrap().iter();
    data.map(|card| card["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn load(engine: &TestEngine, name: &str) -> StatusCode {
    let body = json!({"lora_name": name, "lora_path": "/p"});
    engine.post("/v1/load_lora_adapter", body).await.status
}

#[tokio::test]
async fn an_adapter_is_listed_under_its_parent_and_answers_by_its_name() {
    let engine = start(LINE).await;
    let card = engine.get("/v1/models").await.json()["data"][1].clone();
    assert_eq!(
        (card["id"].as_str(), card["parent"].as_str()),
        (Some("a"), Some("m-7b"))
    );
    assert_eq!(card["root"], "/adapters/a");
    assert_eq!(engine.chat(ask("a")).await.json()["model"], "a");
}

#[tokio::test]
async fn adapters_are_loaded_and_unloaded_while_it_runs() {
    let engine = start(LINE).await;
    assert_eq!(engine.chat(ask("b")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(load(&engine, "b").await, StatusCode::OK);
    assert_eq!(names(&engine).await, ["m-7b", "a", "b"]);
    assert_eq!(engine.chat(ask("b")).await.status, StatusCode::OK);
    let body = json!({"lora_name": "a"});
    let reply = engine.post("/v1/unload_lora_adapter", body).await;
    assert_eq!(
        (reply.status, reply.text().contains("removed")),
        (StatusCode::OK, true)
    );
    assert_eq!(names(&engine).await, ["m-7b", "b"]);
    assert_eq!(engine.chat(ask("a")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn loading_twice_and_unloading_nothing_are_errors() {
    let engine = start(LINE).await;
    assert_eq!(load(&engine, "a").await, StatusCode::BAD_REQUEST);
    let reply = engine
        .post("/v1/unload_lora_adapter", json!({"lora_name": "zz"}))
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let reply = engine
        .post("/v1/load_lora_adapter", json!({"lora_name": "x"}))
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let reply = engine
        .post(
            "/v1/load_lora_adapter",
            json!({"lora_name": 5, "lora_path": "/"}),
        )
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_the_flag_there_are_no_adapters() {
    let engine = start("vllm serve m-7b").await;
    assert_eq!(load(&engine, "a").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_name_the_adapters_in_use() {
    let engine = start("vllm serve m-7b --lora-modules a=/a").await;
    let body = json!({
        "model": "a", "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 2000, "ignore_eos": true, "stream": true,
    });
    let path = "/v1/chat/completions";
    let stream = engine
        .send(http::Method::POST, path, &[], body.to_string())
        .await
        .unwrap();
    let wanted = "running_lora_adapters=\"a\"";
    engine.until_series("vllm:lora_requests_info", wanted).await;
    drop(stream);
    engine
        .until_metric("vllm:num_requests_running", "", 0.0)
        .await;
}
