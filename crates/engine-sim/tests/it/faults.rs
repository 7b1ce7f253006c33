//! Things that go wrong on demand.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use kthena_engine_sim::EngineError;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestEngine, read_events, start};

const CHAT: &str = "/v1/chat/completions";

fn ask(stream: bool) -> Value {
    json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20,
        "ignore_eos": true, "stream": stream,
    })
}

async fn with_faults(faults: Value) -> TestEngine {
    let engine = start("vllm serve m-7b --sim-speed 50").await;
    let reply = engine.post("/sim/faults", faults).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    engine
}

#[tokio::test]
async fn a_share_of_requests_fails_with_the_status() {
    let engine = with_faults(json!({"error_rate": 0.5, "error_status": 503})).await;
    let mut failed = 0;
    for _ in 0..10 {
        let reply = engine.chat(ask(false)).await;
        if reply.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(reply.json()["error"]["code"], 503);
            failed += 1;
        }
    }
    assert_eq!(failed, 5);
    engine.post("/sim/faults", json!({})).await;
    assert_eq!(engine.chat(ask(false)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_broken_stream_has_its_chunks_and_no_end() {
    let engine = with_faults(json!({"reset_rate": 1.0, "after_chunks": 4})).await;
    let response = engine
        .send(Method::POST, CHAT, &[], ask(true).to_string())
        .await
        .unwrap();
    let mut body = response.into_body();
    let events = read_events(&mut body, 4).await;
    assert!(events.iter().all(|event| event.data != "[DONE]"));
    // What follows is a broken connection, not a clean end.
    loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => break,
            None => panic!("the stream ended cleanly"),
        }
    }
    engine
        .until_metric("vllm:num_requests_running", "", 0.0)
        .await;
}

#[tokio::test]
async fn a_stalled_stream_waits_for_its_client_to_give_up() {
    let engine = with_faults(json!({"stall_rate": 1.0, "after_chunks": 3})).await;
    let response = engine
        .send(Method::POST, CHAT, &[], ask(true).to_string())
        .await
        .unwrap();
    let mut body = response.into_body();
    read_events(&mut body, 3).await;
    let more = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
    assert!(more.is_err(), "a stalled stream went on");
}

#[tokio::test]
async fn a_hanging_request_gets_no_headers() {
    let engine = with_faults(json!({"hang_rate": 1.0})).await;
    let call = engine.send(Method::POST, CHAT, &[], ask(false).to_string());
    assert!(
        tokio::time::timeout(Duration::from_millis(50), call)
            .await
            .is_err()
    );
    // Everything else goes on.
    assert_eq!(engine.get("/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_can_fail_while_requests_are_served() {
    let engine = with_faults(json!({"unhealthy": true})).await;
    assert_eq!(
        engine.get("/health").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(engine.chat(ask(false)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn out_of_memory_ends_the_engine_with_an_error() {
    let engine = with_faults(json!({"out_of_memory": true})).await;
    let call = engine
        .send(Method::POST, CHAT, &[], ask(false).to_string())
        .await;
    assert!(call.is_err());
    let ended = engine.ended.await.unwrap();
    assert!(matches!(ended, Err(EngineError::OutOfMemory)));
}

#[rstest]
#[case::rate(json!({"error_rate": 2}))]
#[case::status(json!({"error_status": 200}))]
#[case::misspelt(json!({"error_ratio": 1}))]
#[tokio::test]
async fn senseless_faults_are_refused(#[case] faults: Value) {
    let engine = start("vllm serve m-7b").await;
    let reply = engine.post("/sim/faults", faults).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(engine.get("/sim/faults").await.json()["error_rate"], 0.0);
}
