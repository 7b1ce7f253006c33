//! Starting, many clients at once, clients that leave, ending.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode};
use kthena_engine_sim::EngineError;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{config, read_events, start};

const CHAT: &str = "/v1/chat/completions";

fn endless(stream: bool) -> Value {
    json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "tell me everything"}],
        "max_tokens": 5000, "ignore_eos": true, "stream": stream,
    })
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_its_request() {
    let engine = start("vllm serve m-7b").await;
    let call = engine.send(Method::POST, CHAT, &[], endless(true).to_string());
    let mut body = call.await.unwrap().into_body();
    read_events(&mut body, 2).await;
    engine
        .until_metric("vllm:num_requests_running", "", 1.0)
        .await;
    drop(body);
    engine
        .until_metric("vllm:request_success_total", "abort", 1.0)
        .await;
    engine
        .until_metric("vllm:num_requests_running", "", 0.0)
        .await;
    engine
        .until_metric("vllm:kv_cache_usage_perc", "", 0.0)
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_its_request_too() {
    let engine = start("vllm serve m-7b").await;
    let mut stream = TcpStream::connect(engine.address).await.unwrap();
    let body = endless(false).to_string();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: e\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    engine
        .until_metric("vllm:num_requests_running", "", 1.0)
        .await;
    drop(stream);
    engine
        .until_metric("vllm:request_success_total", "abort", 1.0)
        .await;
}

#[tokio::test]
async fn many_clients_get_their_own_answers() {
    let engine = start("vllm serve m-7b --max-num-seqs 8 --sim-speed 100").await;
    let ask = |at: usize| {
        let content = format!("question {at}");
        json!({
            "model": "m-7b", "messages": [{"role": "user", "content": content}],
            "stream": at.is_multiple_of(2), "max_tokens": 10 + at % 7,
            "ignore_eos": true,
            "stream_options": at.is_multiple_of(2).then(|| json!({"include_usage": true})),
        })
    };
    let mut calls = Vec::new();
    for at in 0..64 {
        calls.push(engine.chat(ask(at)));
    }
    for (at, reply) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply.status, StatusCode::OK);
        let usage = if at.is_multiple_of(2) {
            reply.events().last().unwrap()["usage"].clone()
        } else {
            reply.json()["usage"].clone()
        };
        assert_eq!(usage["completion_tokens"], 10 + at % 7);
    }
    assert_eq!(
        engine.metric("vllm:request_success_total", "length").await,
        64.0
    );
}

/// Runs all at once on this task and keeps the order.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if results.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[tokio::test]
async fn without_a_bound_on_speed_nothing_takes_time() {
    let engine = start("vllm serve m-7b --sim-speed inf").await;
    let reply = engine.chat(json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3000,
        "ignore_eos": true,
    }));
    assert_eq!(reply.await.json()["usage"]["completion_tokens"], 3000);
}

#[tokio::test]
async fn a_loading_engine_is_not_healthy_and_then_is() {
    let engine = start("vllm serve m-7b --sim-startup 200ms").await;
    assert_eq!(
        engine.get("/health").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        engine.get("/v1/models").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    engine.until_status("/health", StatusCode::OK).await;
}

#[tokio::test]
async fn a_process_opens_its_port_when_the_model_is_loaded() {
    // A port that was free a moment ago, on an address no other test uses.
    let host = Ipv4Addr::new(127, 0, 83, 1);
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let line = format!("vllm serve m-7b --host {host} --port {port} --sim-startup 200ms");
    let shutdown = CancellationToken::new();
    let engine = tokio::spawn(kthena_engine_sim::run(config(&line), shutdown.clone()));
    let address = SocketAddr::from((host, port));
    assert!(TcpStream::connect(address).await.is_err());
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), connected)
        .await
        .unwrap();
    shutdown.cancel();
    engine.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("vllm serve m-7b --host 127.0.0.1 --port {port}");
    let ended = kthena_engine_sim::run(config(&line), CancellationToken::new()).await;
    assert!(matches!(ended, Err(EngineError::Listen { .. })));
}

#[tokio::test]
async fn open_requests_finish_before_the_engine_ends() {
    let engine = start("vllm serve m-7b").await;
    let body = json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10,
        "ignore_eos": true, "stream": true,
    });
    let call = engine.send(Method::POST, CHAT, &[], body.to_string()).await;
    let mut body = call.unwrap().into_body();
    read_events(&mut body, 1).await;
    engine.shutdown.cancel();
    // The rest of eleven chunks and the end mark.
    let rest = read_events(&mut body, 1).await;
    assert!(!rest.is_empty());
    engine.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_without_end_is_cut_off_at_the_end() {
    let engine = start("vllm serve m-7b --sim-drain 50ms").await;
    let call = engine.send(Method::POST, CHAT, &[], endless(true).to_string());
    let mut body = call.await.unwrap().into_body();
    read_events(&mut body, 1).await;
    engine.stop().await.unwrap();
    let rest = async {
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            if frame.is_err() {
                return true;
            }
        }
        false
    };
    assert!(rest.await, "the stream ended cleanly");
}
