//! What an engine publishes about its cache, as a subscriber receives it.

use std::time::Duration;

use bytes::Bytes;
use kthena_kv_events::events::{EngineHash, KvEvent, Message, Order, Progress, decode};
use rstest::rstest;
use serde_json::json;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::support::{TestEngine, config, start_with};

const DEADLINE: Duration = Duration::from_secs(30);

async fn engine(line: &str, events: &str) -> TestEngine {
    let mut config = config(&format!(
        "{line} --sim-speed 50 --kv-events-config {events}"
    ));
    config.host = [127, 0, 0, 1].into();
    start_with(config).await
}

async fn socket_of(engine: &TestEngine, name: &str) -> String {
    let sockets = engine.get("/sim/sockets").await.json();
    sockets[name].as_str().unwrap().to_owned()
}

/// Asks for `words` words, so that blocks fill.
async fn fill(engine: &TestEngine, words: usize) {
    let body = json!({"model": "m-7b", "prompt": "word ".repeat(words), "max_tokens": 1});
    let reply = engine.post("/v1/completions", body).await;
    assert!(reply.status.is_success());
}

async fn receive(socket: &mut impl SocketRecv) -> Vec<Bytes> {
    let message = tokio::time::timeout(DEADLINE, socket.recv()).await;
    message.expect("no message in time").unwrap().into_vec()
}

/// A subscriber that has certainly arrived: it has seen a message.
async fn subscriber(engine: &TestEngine, topic: &str) -> SubSocket {
    let mut socket = SubSocket::new();
    socket
        .connect(&socket_of(engine, "kv_events").await)
        .await
        .unwrap();
    socket.subscribe(topic).await.unwrap();
    let path = "/reset_prefix_cache";
    loop {
        engine.post(path, json!({})).await;
        let soon = Duration::from_millis(50);
        if tokio::time::timeout(soon, socket.recv()).await.is_ok() {
            return socket;
        }
    }
}

#[rstest]
#[case::maps("maps")]
#[case::arrays("arrays")]
#[tokio::test]
async fn blocks_are_announced_in_either_layout(#[case] layout: &str) {
    let line = format!("vllm serve m-7b --sim-event-layout {layout}");
    let events = r#"{"enable_kv_cache_events":true,"topic":"kv-events","endpoint":"tcp://*:0"}"#;
    let engine = engine(&line, events).await;
    let mut socket = subscriber(&engine, "kv-events").await;
    fill(&engine, 100).await;
    let mut order = Order::default();
    let stored = loop {
        let frames = receive(&mut socket).await;
        let message = Message::from_frames(&frames).unwrap();
        assert!(message.is_on("kv-events"));
        assert!(!matches!(
            order.observe(message.sequence),
            Progress::Gap { .. } | Progress::Restart { .. }
        ));
        let mut batch = decode(message.payload).unwrap();
        assert_eq!((batch.unknown, batch.faulty), (0, 0));
        if let Some(KvEvent::Stored(stored)) = batch.events.pop() {
            break stored;
        }
    };
    assert_eq!((stored.block_size, &stored.parent), (16, &None));
    assert!(stored.blocks().unwrap().count() >= 6);
    assert!(stored.is_on_gpu());
}

#[tokio::test]
async fn the_other_dialect_publishes_signed_names_in_arrays() {
    let line = "sglang serve m-7b --page-size 16";
    let events = r#"{"publisher":"zmq","endpoint":"tcp://*:0"}"#;
    let engine = engine(line, events).await;
    let mut socket = SubSocket::new();
    socket
        .connect(&socket_of(&engine, "kv_events").await)
        .await
        .unwrap();
    socket.subscribe("").await.unwrap();
    let mut names = Vec::new();
    // Early messages are lost until the subscription has arrived.
    while names.len() < 40 {
        fill(&engine, 300 + names.len()).await;
        engine.post("/flush_cache", json!({})).await;
        let soon = Duration::from_millis(200);
        while let Ok(message) = tokio::time::timeout(soon, socket.recv()).await {
            let frames = message.unwrap().into_vec();
            let batch = decode(Message::from_frames(&frames).unwrap().payload).unwrap();
            for event in batch.events {
                if let KvEvent::Stored(stored) = event {
                    names.extend(stored.hashes);
                }
            }
        }
    }
    assert!(
        names
            .iter()
            .any(|name| matches!(name, EngineHash::Negative(_)))
    );
}

#[tokio::test]
async fn missed_messages_can_be_asked_for() {
    let events = r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0","replay_endpoint":"tcp://*:0","buffer_steps":2}"#;
    let engine = engine("vllm serve m-7b", events).await;
    for words in [50, 150, 250] {
        fill(&engine, words).await;
    }
    let mut socket = DealerSocket::new();
    socket
        .connect(&socket_of(&engine, "kv_events_replay").await)
        .await
        .unwrap();
    let question = vec![Bytes::new(), Bytes::copy_from_slice(&0_u64.to_be_bytes())];
    socket
        .send(ZmqMessage::try_from(question).unwrap())
        .await
        .unwrap();
    let mut numbers = Vec::new();
    loop {
        let frames = receive(&mut socket).await;
        let [_, number, payload] = &frames[..] else {
            panic!("{frames:?}")
        };
        let number = i64::from_be_bytes(number.as_ref().try_into().unwrap());
        if number < 0 {
            break;
        }
        assert!(!decode(payload).unwrap().events.is_empty());
        numbers.push(number);
    }
    // Two are kept of however many steps it took.
    let [first, second] = numbers[..] else {
        panic!("{numbers:?}")
    };
    assert_eq!(second, first + 1);
}

#[tokio::test]
async fn an_endpoint_that_is_taken_stops_the_start() {
    let events = r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0"}"#;
    let first = engine("vllm serve m-7b", events).await;
    let taken = socket_of(&first, "kv_events").await;
    let events = format!(r#"{{"enable_kv_cache_events":true,"endpoint":"{taken}"}}"#);
    let mut config = config(&format!("vllm serve m-7b --kv-events-config {events}"));
    config.host = [127, 0, 0, 1].into();
    let second = start_with(config).await;
    let ended = tokio::time::timeout(DEADLINE, second.ended).await;
    let error = ended.expect("it runs").unwrap().unwrap_err();
    assert!(
        error.to_string().contains("cannot publish cache events"),
        "{error}"
    );
}
