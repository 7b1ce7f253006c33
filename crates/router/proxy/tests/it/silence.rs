//! Engines that say nothing any more.

use std::sync::Arc;
use std::time::Duration;

use kthena_router_proxy::RouterConfig;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::client::{CHAT, chat, post, soon};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Step, event, ok};
use crate::pairs;
use crate::setup::{TestRouter, config};

const LIMIT: Duration = Duration::from_millis(500);

fn impatient() -> RouterConfig {
    let mut config = config();
    config.limits.engine_idle = Some(LIMIT);
    config
}

fn begun() -> Vec<Step> {
    vec![
        Step::Send(STREAM_HEAD.to_vec()),
        Step::Send(event("{\"a\":1}")),
        Step::UntilClosed,
    ]
}

#[tokio::test]
async fn a_stream_that_falls_silent_breaks_and_everything_it_held_is_free() {
    let engine = Engine::start(|_, _| begun()).await;
    let router = TestRouter::with(impatient(), &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("\"a\":1").await;

    let answer = client.answer().await;

    assert_eq!((answer.status, answer.complete), (200, false));
    client.until_closed().await;
    engine.until_closed(1).await;
    router.until_metric("kthena_router_active_requests 0").await;
    router
        .until_metric("kthena_router_engine_silences_total 1")
        .await;
    let log = router.stop().await;
    assert!(log[0].contains("the engine fell silent"), "{}", log[0]);
}

#[tokio::test]
async fn a_request_that_nobody_answers_is_told_so_and_not_repeated() {
    let engine = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let (one, two) = (&engine, &engine);
    let router = TestRouter::with(impatient(), &[one, two], &json!({})).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (504, Some("upstream_timeout"))
    );
    engine.until_closed(1).await;
    assert_eq!(engine.seen().len(), 1, "it would take as long elsewhere");
    router.until_metric("kthena_router_active_requests 0").await;
}

#[tokio::test]
async fn an_engine_that_does_not_take_the_request_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut deaf = Vec::new();
        loop {
            deaf.push(listener.accept().await.unwrap());
        }
    });
    let router = TestRouter::start(impatient()).await;
    let mut view = crate::setup::view_of(&[address], &json!({}));
    router.publisher.publish(view.snapshot());
    let body = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(30 << 20));

    let answer = router.ask(&post("/v1/completions", &body)).await;

    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn an_engine_that_keeps_falling_silent_is_asked_no_more() {
    let engine = Engine::start(|_, _| begun()).await;
    let mut config = impatient();
    config.health.base_ejection = Duration::from_hours(1);
    config.health.max_ejection = Duration::from_hours(1);
    config.health.consecutive_failures = 1;
    let good = Engine::start_at(([127, 0, 0, 2], engine.address.port()).into(), |_, _| {
        ok("\"good\"")
    })
    .await;
    let router = TestRouter::with(config, &[&engine, &good], &json!({})).await;

    soon(async { while router.ask(&chat("m")).await.complete {} }).await;

    router
        .until_metric("kthena_router_endpoint_ejections_total 1")
        .await;
    for _ in 0..10 {
        assert!(router.ask(&chat("m")).await.complete);
    }
}

#[tokio::test]
async fn a_slow_stream_that_says_something_now_and_then_goes_on() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Send(STREAM_HEAD.to_vec())];
        for number in 0..40 {
            steps.push(Step::Await(Arc::clone(&held)));
            steps.push(Step::Send(event(&format!("{{\"n\":{number}}}"))));
        }
        steps.push(Step::Send(LAST_CHUNK.to_vec()));
        steps
    })
    .await;
    let mut config = impatient();
    config.limits.engine_idle = Some(Duration::from_secs(3));
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;

    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..40 {
        tick.tick().await;
        gate.add_permits(1);
    }

    assert!(
        client.answer().await.complete,
        "it took longer than the limit, but was never silent"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_no_silence_of_the_engine() {
    let large = "x".repeat(32 << 20);
    let engine = Engine::start(move |_, _| ok(&format!("\"{large}\""))).await;
    let router = TestRouter::with(impatient(), &[&engine], &json!({})).await;
    let mut slow = router.client().await;
    slow.send(&chat("m")).await;
    slow.until("HTTP/1.1 200 OK").await;

    // Another request meets the limit meanwhile, several times over.
    let mut other = router.client().await;
    let mut tick = tokio::time::interval(LIMIT);
    for _ in 0..8 {
        tick.tick().await;
        assert_eq!(other.ask(&crate::client::get("/healthz")).await.status, 200);
    }

    assert!(slow.answer().await.complete);
}

#[tokio::test]
async fn without_a_limit_an_engine_may_take_its_time() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Await(Arc::clone(&held))];
        steps.extend(ok("{}"));
        steps
    })
    .await;
    let mut config = config();
    config.limits.engine_idle = None;
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;

    let early = tokio::time::timeout(Duration::from_secs(3), client.until_closed()).await;

    assert!(early.is_err(), "{}", client.received());
    gate.add_permits(1);
    assert_eq!(client.answer().await.status, 200);
}

/// Pairs of which one half is silent; the other has done its part or waits.
#[rstest]
#[case::prefill_in_turn(json!({"kvConnector": {"type": "nixl"}}), 0)]
#[case::decode_in_turn(json!({"kvConnector": {"type": "nixl"}}), 1)]
#[case::prefill_beside(json!({"inferenceEngine": "SGLang"}), 0)]
#[case::decode_beside(json!({"inferenceEngine": "SGLang"}), 1)]
#[tokio::test]
async fn a_pair_with_a_silent_half_is_given_up(#[case] spec: Value, #[case] silent: usize) {
    let together = spec.get("inferenceEngine").is_some();
    let script = move |half: usize| -> crate::engine::Script {
        Box::new(move |_, _| {
            if half == silent || together && half == 1 {
                vec![Step::UntilClosed]
            } else {
                ok(r#"{"kv_transfer_params":{"a":1}}"#)
            }
        })
    };
    let engines = Engine::start_several(vec![script(0), script(1)]).await;
    let mut view = pairs::view(&engines[0], spec);
    view.apply_pod(pairs::pod(0, &engines[0], "prefill", 0));
    view.apply_pod(pairs::pod(1, &engines[1], "decode", 0));
    let snapshot = view.snapshot();
    let router = TestRouter::start(impatient()).await;
    router.publisher.publish(Arc::clone(&snapshot));
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

    let answer = router.ask(&post(CHAT, body)).await;

    assert_eq!(answer.status, 504, "{}", answer.text());
    engines[silent].until_closed(1).await;
    soon(async {
        let server = snapshot.server("ns/s").unwrap();
        while server.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    router.until_metric("kthena_router_active_requests 0").await;
}
