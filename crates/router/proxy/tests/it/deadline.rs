//! The time that a request has until its answer begins.

use std::sync::Arc;
use std::time::Duration;

use kthena_router_proxy::RouterConfig;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{Answer, chat};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Script, Step, event, ok};
use crate::pairs;
use crate::setup::{TestRouter, config};

/// Three attempts of 200 ms do not fit.
const LIMIT: Duration = Duration::from_millis(500);

fn hurried() -> RouterConfig {
    let mut config = config();
    config.limits.answer = Some(LIMIT);
    config
}

fn assert_late(answer: &Answer) {
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (504, Some("request_timeout")),
        "{error}"
    );
}

#[tokio::test]
async fn attempts_end_with_the_time_of_the_request() {
    let engine = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let all = [&engine; 5];
    let spec = json!({"trafficPolicy": {"timeout": "200ms", "retry": {"attempts": 4, "retryInterval": "1ms"}}});
    let router = TestRouter::with(hurried(), &all, &spec).await;

    assert_late(&router.ask(&chat("m")).await);

    let tried = engine.seen().len();
    assert!((2..=3).contains(&tried), "{tried} engines were asked");
    engine.until_closed(tried).await;
    router.until_metric("kthena_router_active_requests 0").await;
}

#[tokio::test]
async fn an_engine_that_takes_all_of_the_time_has_failed() {
    let silent = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let mut config = hurried();
    config.health.consecutive_failures = 1;
    config.health.base_ejection = Duration::from_hours(1);
    config.health.max_ejection = Duration::from_hours(1);
    let good = Engine::start_at(([127, 0, 0, 2], silent.address.port()).into(), |_, _| {
        ok("{}")
    })
    .await;
    let router = TestRouter::with(config, &[&silent, &good], &json!({})).await;

    let mut answer = router.ask(&chat("m")).await;
    while answer.status == 200 {
        answer = router.ask(&chat("m")).await;
    }

    assert_late(&answer);
    router
        .until_metric("kthena_router_endpoint_ejections_total 1")
        .await;
}

#[tokio::test]
async fn an_answer_that_has_begun_may_last() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Await(Arc::clone(&held)),
            Step::Send(event("{\"a\":1}")),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::with(hurried(), &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("HTTP/1.1 200 OK").await;

    let early = tokio::time::timeout(2 * LIMIT, client.until("\"a\":1")).await;

    assert!(early.is_err(), "{}", client.received());
    gate.add_permits(1);
    assert!(client.answer().await.complete);
}

#[tokio::test]
async fn both_halves_of_a_pair_are_given_up() {
    let silent = || -> Script { Box::new(|_, _| vec![Step::UntilClosed]) };
    let engines = Engine::start_several(vec![silent(), silent()]).await;
    let mut view = pairs::view(&engines[0], json!({"inferenceEngine": "SGLang"}));
    view.apply_pod(pairs::pod(0, &engines[0], "prefill", 0));
    view.apply_pod(pairs::pod(1, &engines[1], "decode", 0));
    let snapshot = view.snapshot();
    let router = TestRouter::start(hurried()).await;
    router.publisher.publish(Arc::clone(&snapshot));

    assert_late(&router.ask(&chat("m")).await);

    for engine in &engines {
        engine.until_closed(1).await;
    }
    router.until_metric("kthena_router_active_requests 0").await;
    let pods = snapshot.server("ns/s").unwrap().pods();
    assert!(
        pods.map(|pod| pod.endpoint.in_flight())
            .all(|count| count == 0)
    );
}
