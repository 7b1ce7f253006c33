//! Requests that wait for their turn.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kthena_router_filters::settings::{BoostConfig, FairnessConfig, Pace, QueueConfig};
use kthena_router_proxy::{RouterConfig, ScrapeConfig};
use rstest::rstest;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{chat, get, soon};
use crate::engine::{Engine, STREAM_HEAD, Step, event, ok};
use crate::setup::{TestRouter, config};

/// One request at a time per model.
fn one_at_a_time(timeout: Duration) -> RouterConfig {
    RouterConfig {
        queue: QueueConfig {
            fairness: Some(FairnessConfig {
                pace: Pace::Permits(NonZeroUsize::MIN),
                timeout,
                ..FairnessConfig::default()
            }),
            ..QueueConfig::off()
        },
        ..config()
    }
}

async fn gated() -> (Engine, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let own = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Await(Arc::clone(&own))];
        steps.extend(ok("{}"));
        steps
    })
    .await;
    (engine, gate)
}

/// Waits until the queue of model `m` counts as said.
async fn until(router: &TestRouter, counts: [&str; 3]) {
    for count in counts {
        let (name, value) = count.split_once(' ').unwrap();
        let user = match name {
            "inflight" => "",
            _ => r#",user_id="_all""#,
        };
        let line = format!(r#"kthena_router_fairness_queue_{name}{{model="m"{user}}} {value}"#);
        router.until_metric(&line).await;
    }
}

const LONG: Duration = Duration::from_mins(5);

#[tokio::test]
async fn the_next_request_goes_when_the_one_before_has_ended() {
    let (engine, gate) = gated().await;
    let router = TestRouter::with(one_at_a_time(LONG), &[&engine], &json!({})).await;
    let mut clients = [router.client().await, router.client().await];
    clients[0].send(&chat("m")).await;
    engine.until_seen(1).await;
    clients[1].send(&chat("m")).await;
    until(&router, ["size 1", "inflight 1", "dequeue_total 1"]).await;
    assert_eq!(engine.seen().len(), 1);

    gate.add_permits(1);
    assert_eq!(clients[0].answer().await.status, 200);
    engine.until_seen(2).await;
    gate.add_permits(1);
    assert_eq!(clients[1].answer().await.status, 200);
    until(&router, ["size 0", "inflight 0", "dequeue_total 2"]).await;
}

/// Engines in which somebody waits get no more, under the name they know the model by, until nobody does or nobody can
/// tell any more.
#[rstest]
#[case::nobody_waits_any_more(
    "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 0\n"
)]
#[case::nobody_can_tell("vllm:num_requests_waiting broken\n")]
#[tokio::test]
async fn engines_that_queue_hold_back_what_waits_here(#[case] later: &'static str) {
    let busy = "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 1\n";
    let page = Arc::new(Mutex::new(busy));
    let shown = Arc::clone(&page);
    let engine = Engine::start(move |_, asked| {
        if asked.head.starts_with("GET /metrics") {
            ok(*shown.lock().unwrap())
        } else if asked.head.starts_with("GET /v1/models") {
            ok(r#"{"data":[{"id":"served"}]}"#)
        } else {
            ok("{}")
        }
    })
    .await;
    let chats = || {
        let seen = engine.seen().into_iter();
        seen.filter(|seen| seen.head.starts_with("POST")).count()
    };
    let config = RouterConfig {
        queue: QueueConfig {
            boost: Some(BoostConfig::default()),
            ..QueueConfig::off()
        },
        scrape: Some(ScrapeConfig::every(Duration::from_millis(50))),
        ..config()
    };
    let router = TestRouter::with(config, &[&engine], &json!({"model": "served"})).await;
    soon(async { while router.ask(&get("/readyz")).await.status != 200 {} }).await;
    let mut client = router.client().await;

    client.send(&chat("m")).await;
    router
        .until_metric("kthena_router_session_boost_queue_size{model=\"m\"} 1")
        .await;
    // The queue hears of its engines again.
    engine.until_seen(engine.seen().len() + 40).await;
    assert_eq!(chats(), 0);

    *page.lock().unwrap() = later;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(chats(), 1);
}

#[tokio::test]
async fn who_waits_too_long_is_told() {
    let (engine, gate) = gated().await;
    let router = TestRouter::with(
        one_at_a_time(Duration::from_millis(50)),
        &[&engine],
        &json!({}),
    )
    .await;
    let mut first = router.client().await;
    first.send(&chat("m")).await;
    engine.until_seen(1).await;

    let late = router.ask(&chat("m")).await;

    assert_eq!(late.status, 504);
    assert_eq!(
        late.json()["error"]["message"],
        "Request processing timed out in queue"
    );
    gate.add_permits(1);
    assert_eq!(first.answer().await.status, 200, "only the wait is bounded");
    assert_eq!(engine.seen().len(), 1);
    let log = router.stop().await;
    assert!(
        log.iter().any(|line| line.contains("scheduling")),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_model_that_nobody_serves_does_not_queue() {
    let (engine, _gate) = gated().await;
    let router = TestRouter::with(one_at_a_time(LONG), &[&engine], &json!({})).await;

    let answer = router.ask(&chat("stranger")).await;

    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["error"]["message"], "route not found");
}

#[tokio::test]
async fn who_leaves_the_queue_takes_no_turn() {
    let (engine, gate) = gated().await;
    let router = TestRouter::with(one_at_a_time(LONG), &[&engine], &json!({})).await;
    let mut first = router.client().await;
    first.send(&chat("m")).await;
    engine.until_seen(1).await;
    let mut leaving = router.client().await;
    leaving.send(&chat("m")).await;
    until(&router, ["size 1", "inflight 1", "cancelled_total 0"]).await;

    drop(leaving);
    until(&router, ["size 0", "inflight 1", "cancelled_total 1"]).await;
    gate.add_permits(2);

    assert_eq!(first.answer().await.status, 200);
    assert_eq!(router.ask(&chat("m")).await.status, 200);
    assert_eq!(engine.seen().len(), 2);
}

#[rstest]
#[case::answered(ok("{}"))]
#[case::refused(vec![Step::Send(crate::engine::answer("400 Bad Request", "text/plain", "no"))])]
#[case::failed(vec![Step::Close])]
#[case::broken(vec![Step::Send(STREAM_HEAD.to_vec()), Step::Send(event("{}")), Step::Close])]
#[tokio::test]
async fn a_turn_is_given_back_however_the_request_ends(#[case] steps: Vec<Step>) {
    let engine = Engine::start(move |_, _| steps.clone()).await;
    let router = TestRouter::with(one_at_a_time(LONG), &[&engine], &json!({})).await;

    for _ in 0..4 {
        soon(router.ask(&chat("m"))).await;
    }

    assert!(!engine.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_gives_its_turn_back() {
    let engine = Engine::start(|number, _| {
        if number > 0 {
            return ok("\"next\"");
        }
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::UntilClosed,
        ]
    })
    .await;
    let router = TestRouter::with(one_at_a_time(LONG), &[&engine], &json!({})).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("\"a\"").await;
    let mut next = router.client().await;
    next.send(&chat("m")).await;

    drop(client);

    assert_eq!(next.answer().await.text(), "\"next\"");
}
