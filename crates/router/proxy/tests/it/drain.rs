//! The end of a router's life.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{chat, get};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Step, event, ok};
use crate::setup::{TestRouter, config};

#[tokio::test]
async fn a_stream_that_runs_is_finished_and_waiting_connections_are_closed() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Await(Arc::clone(&held)),
            Step::Send(event("{\"b\":2}")),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut waiting = router.client().await;
    assert_eq!(waiting.ask(&get("/healthz")).await.status, 200);
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("\"a\"").await;

    router.shutdown.cancel();
    waiting.until_closed().await;
    assert!(router.is_running());
    gate.add_permits(1);

    let answer = client.answer().await;
    assert!(answer.complete && answer.text().contains("\"b\""));
    client.until_closed().await;
    assert_eq!(router.stop().await.len(), 1);
}

#[tokio::test]
async fn during_the_lame_duck_requests_are_served_but_readiness_is_gone() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut config = config();
    config.lame_duck = Duration::from_mins(1);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    assert_eq!(router.ask(&get("/readyz")).await.status, 200);

    router.shutdown.cancel();

    crate::client::soon(async { while router.ask(&get("/readyz")).await.status == 200 {} }).await;
    let answer = router.ask(&chat("m")).await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(router.ask(&get("/healthz")).await.status, 200);
    assert!(router.is_running());
}

#[tokio::test]
async fn what_has_not_ended_at_the_deadline_is_cut_and_still_logged() {
    let engine = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let mut config = config();
    config.drain_timeout = Duration::from_millis(50);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    engine.until_seen(1).await;

    let log = router.stop().await;

    client.until_closed().await;
    engine.until_closed(1).await;
    assert_eq!(log.len(), 1);
    assert!(log[0].contains("error=\"client_closed:"), "{}", log[0]);
}

#[tokio::test]
async fn under_load_no_request_is_lost() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut config = config();
    config.lame_duck = Duration::from_millis(100);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let address = router.address;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut served = 0_u32;
                let mut client = crate::client::Client::connect(address).await;
                loop {
                    let answer = client.ask(&chat("m")).await;
                    assert_eq!(answer.status, 200);
                    served += 1;
                    if answer.header("connection") == Some("close") {
                        return served;
                    }
                }
            })
        })
        .collect();
    engine.until_seen(50).await;

    router.shutdown.cancel();

    let mut served = 0;
    for client in clients {
        served += crate::client::soon(client).await.unwrap();
    }
    assert_eq!(router.stop().await.len(), served as usize);
}
