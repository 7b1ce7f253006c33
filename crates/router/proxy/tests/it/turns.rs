//! Queues of every kind, and what ends a wait in them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use kthena_router_filters::settings::{BoostConfig, FairnessConfig, Pace, QueueConfig};
use kthena_router_pipeline::ErrorStyle;
use kthena_router_proxy::RouterConfig;
use kthena_router_view::View;
use rstest::rstest;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{chat, soon};
use crate::engine::{Engine, Step, ok};
use crate::setup::{TestRouter, config};

const LONG: Duration = Duration::from_mins(5);

fn fair(pace: Pace) -> QueueConfig {
    QueueConfig {
        fairness: Some(FairnessConfig {
            pace,
            timeout: LONG,
            ..FairnessConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn one_at_a_time() -> QueueConfig {
    fair(Pace::Permits(NonZeroUsize::MIN))
}

fn by_rate() -> QueueConfig {
    fair(Pace::Rate(NonZeroU32::new(1000).unwrap()))
}

fn boosted() -> QueueConfig {
    QueueConfig {
        boost: Some(BoostConfig {
            in_flight_per_pod: NonZeroU32::MIN,
            ..BoostConfig::default()
        }),
        ..QueueConfig::off()
    }
}

fn queueing(queue: QueueConfig) -> RouterConfig {
    RouterConfig { queue, ..config() }
}

/// An engine that answers as often as permits are added.
async fn gated() -> (Engine, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Await(Arc::clone(&held))];
        steps.extend(ok("{}"));
        steps
    })
    .await;
    (engine, gate)
}

#[rstest]
#[case::permits(one_at_a_time())]
#[case::rate(by_rate())]
#[case::sessions(boosted())]
#[tokio::test]
async fn strangers_get_no_queue_and_others_pass(#[case] queue: QueueConfig) {
    let engine = Engine::start(|_, _| ok("\"fine\"")).await;
    let router = TestRouter::with(queueing(queue), &[&engine], &json!({})).await;

    for _ in 0..3 {
        let refused = router.ask(&chat("stranger")).await;
        assert_eq!(refused.status, 404);
        assert_eq!(refused.json()["error"]["message"], "route not found");
    }
    assert!(!router.metrics().await.contains("queue_size{"));
    for _ in 0..3 {
        assert_eq!(router.ask(&chat("m")).await.text(), "\"fine\"");
    }

    let metrics = router.metrics().await;
    assert!(metrics.contains(r#"queue_size{model="m""#), "{metrics}");
    assert!(!metrics.contains("stranger"));
}

#[tokio::test]
async fn a_session_waits_no_longer_than_it_may() {
    let (engine, gate) = gated().await;
    let mut queue = boosted();
    queue.boost.as_mut().unwrap().timeout = Some(Duration::from_millis(50));
    let mut config = queueing(queue);
    config.error_style = ErrorStyle::Legacy;
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut first = router.client().await;
    first.send(&chat("m")).await;
    engine.until_seen(1).await;

    let late = router.ask(&chat("m")).await;

    assert_eq!(
        (late.status, late.text()),
        (504, "\"Request processing timed out in queue\"")
    );
    gate.add_permits(1);
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn who_waits_for_a_model_that_goes_is_told() {
    let (engine, gate) = gated().await;
    let router = TestRouter::with(queueing(one_at_a_time()), &[&engine], &json!({})).await;
    let mut first = router.client().await;
    first.send(&chat("m")).await;
    engine.until_seen(1).await;
    let mut second = router.client().await;
    second.send(&chat("m")).await;
    router
        .until_metric(r#"kthena_router_fairness_queue_size{model="m",user_id="_all"} 1"#)
        .await;

    router.publisher.publish(View::default().snapshot());

    assert_eq!(second.answer().await.status, 503);
    assert!(
        !router
            .metrics()
            .await
            .contains(r#"fairness_queue_size{model="m""#)
    );
    gate.add_permits(1);
    assert_eq!(first.answer().await.status, 200, "what runs goes on");
}

#[tokio::test]
async fn requests_that_wait_are_served_before_the_router_ends() {
    let (engine, gate) = gated().await;
    let router = TestRouter::with(queueing(one_at_a_time()), &[&engine], &json!({})).await;
    let mut clients = Vec::new();
    for waiting in 0..3 {
        let mut client = router.client().await;
        client.send(&chat("m")).await;
        router
            .until_metric(&format!(
                r#"kthena_router_fairness_queue_size{{model="m",user_id="_all"}} {waiting}"#
            ))
            .await;
        clients.push(client);
    }

    router.shutdown.cancel();
    gate.add_permits(3);

    for client in &mut clients {
        assert_eq!(soon(client.answer()).await.status, 200);
    }
    assert_eq!(router.stop().await.len(), 3);
}
