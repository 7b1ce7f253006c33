//! Engines that fail, and what is tried instead.

use std::time::Duration;

use kthena_router_pipeline::ErrorStyle;
use rstest::rstest;
use serde_json::json;

use crate::client::chat;
use crate::engine::{Engine, Script, Step, answer, ok};
use crate::setup::{TestRouter, config};

fn always(steps: Vec<Step>) -> Script {
    Box::new(move |_, _| steps.clone())
}

fn refusal(line: &str) -> Vec<Step> {
    vec![Step::Send(answer(line, "application/json", "\"busy\""))]
}

#[rstest]
#[case::closes(vec![Step::Close])]
#[case::resets(vec![Step::Reset])]
#[case::half_a_head(vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-".to_vec()), Step::Close])]
#[case::no_http(vec![Step::Send(b"SSH-2.0-x\r\n\r\n".to_vec())])]
#[case::overloaded(refusal("429 Too Many Requests"))]
#[case::bad_gateway(refusal("502 Bad Gateway"))]
#[case::unavailable(refusal("503 Service Unavailable"))]
#[case::gateway_timeout(refusal("504 Gateway Timeout"))]
#[tokio::test]
async fn another_candidate_answers(#[case] fault: Vec<Step>) {
    let engines = Engine::start_several(vec![always(fault), always(ok("\"good\""))]).await;
    let router = TestRouter::serving(&[&engines[0], &engines[1]]).await;

    let mut faulty_seen = 0;
    for _ in 0..20 {
        let answer = router.ask(&chat("m")).await;
        assert_eq!((answer.status, answer.text()), (200, "\"good\""));
        faulty_seen = engines[0].seen().len();
    }

    assert!(
        faulty_seen > 0,
        "ties are broken by chance, so the faulty engine was asked"
    );
    let bodies: Vec<_> = engines
        .iter()
        .flat_map(Engine::seen)
        .map(|seen| seen.body)
        .collect();
    assert!(
        bodies.iter().all(|body| *body == bodies[0]),
        "every attempt carries the whole body"
    );
}

#[rstest]
#[case::closes(vec![Step::Close], (502, "request to all pods failed"), 503)]
#[case::last_refusal_is_the_clients(refusal("429 Too Many Requests"), (429, "busy"), 429)]
#[tokio::test]
async fn when_all_candidates_fail(
    #[case] fault: Vec<Step>,
    #[case] expected: (u16, &str),
    #[case] legacy_status: u16,
) {
    let engines = Engine::start_several(vec![always(fault.clone()), always(fault)]).await;
    let both = [&engines[0], &engines[1]];
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    let router = TestRouter::serving(&both).await;
    let old = TestRouter::with(legacy, &both, &json!({})).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(answer.status, expected.0);
    assert!(answer.text().contains(expected.1), "{}", answer.text());
    assert_eq!(old.ask(&chat("m")).await.status, legacy_status);
    let log = router.stop().await;
    assert!(log[0].contains(" upstream_attempts=2 "), "{}", log[0]);
}

#[rstest]
#[case::own_failure("500 Internal Server Error")]
#[case::unavailable("503 Service Unavailable")]
#[tokio::test]
async fn in_the_old_style_a_server_error_of_the_last_engine_is_replaced(#[case] line: &str) {
    let engine = Engine::start({
        let steps = refusal(line);
        move |_, _| steps.clone()
    })
    .await;
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    let router = TestRouter::with(legacy, &[&engine], &json!({})).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(
        (answer.status, answer.text()),
        (503, "\"request to all pods failed\"")
    );
}

#[tokio::test]
async fn a_retry_policy_bounds_the_attempts() {
    let close = || always(vec![Step::Close]);
    let engines = Engine::start_several(vec![close(), close(), close()]).await;
    let all: Vec<&Engine> = engines.iter().collect();
    let policy = json!({"trafficPolicy": {"retry": {"attempts": 1, "retryInterval": "1ms"}}});
    let router = TestRouter::with(config(), &all, &policy).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(answer.status, 502);
    let log = router.stop().await;
    assert!(log[0].contains(" upstream_attempts=2 "), "{}", log[0]);
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up_after_the_time_limit() {
    let engines = Engine::start_several(vec![
        always(vec![Step::UntilClosed]),
        always(vec![Step::UntilClosed]),
    ])
    .await;
    let policy = json!({"trafficPolicy": {"timeout": "30ms"}});
    let router = TestRouter::with(config(), &[&engines[0], &engines[1]], &policy).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (504, Some("upstream_timeout"))
    );
    engines[0].until_closed(1).await;
    engines[1].until_closed(1).await;
}

#[tokio::test]
async fn the_time_limit_does_not_cut_a_stream_that_began() {
    let engine = Engine::start(|_, _| {
        vec![
            Step::Send(crate::engine::STREAM_HEAD.to_vec()),
            Step::Send(crate::engine::event("{\"a\":1}")),
            Step::UntilClosed,
        ]
    })
    .await;
    let policy = json!({"trafficPolicy": {"timeout": "20ms"}});
    let router = TestRouter::with(config(), &[&engine], &policy).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    client.until("\"a\"").await;

    // Ten times the limit passes with the stream still open.
    let closed = tokio::time::timeout(Duration::from_millis(200), client.until_closed()).await;

    assert!(closed.is_err(), "the stream was cut");
}

#[tokio::test]
async fn nobody_listening_is_a_bad_gateway() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    drop(engine);

    let mut status = 200;
    crate::client::soon(async {
        // The listener's task ends a moment after it is told to.
        while status == 200 {
            status = router.ask(&chat("m")).await.status;
        }
    })
    .await;

    assert_eq!(status, 502);
}

#[tokio::test]
async fn the_log_names_the_pod_that_answered() {
    let engines =
        Engine::start_several(vec![always(vec![Step::Close]), always(ok("\"good\""))]).await;
    let router = TestRouter::serving(&[&engines[0], &engines[1]]).await;

    crate::client::soon(async {
        while engines[0].seen().is_empty() {
            assert_eq!(router.ask(&chat("m")).await.status, 200);
        }
    })
    .await;

    let log = router.stop().await;
    assert!(
        log.iter().all(|line| line.contains("selected_pod=pod-1 ")),
        "{log:#?}"
    );
    assert!(
        log.iter()
            .any(|line| line.contains(" upstream_attempts=2 "))
    );
}

#[tokio::test]
async fn an_answer_that_points_elsewhere_is_not_followed() {
    let moved = answer("307 Temporary Redirect", "text/plain", "");
    let text = String::from_utf8(moved).unwrap();
    let moved = text.replacen("\r\n", "\r\nlocation: http://127.0.0.1:1/\r\n", 1);
    let engine = Engine::start(move |_, _| vec![Step::Send(moved.clone().into_bytes())]).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(
        (answer.status, answer.header("location")),
        (307, Some("http://127.0.0.1:1/"))
    );
    assert_eq!(engine.seen().len(), 1);
}

/// Ejections that last longer than any test, or no time at all.
fn ejecting(period: Duration) -> kthena_router_proxy::RouterConfig {
    let mut config = config();
    config.health.base_ejection = period;
    config.health.max_ejection = period;
    config.health.slow_start = Duration::ZERO;
    config
}

#[tokio::test]
async fn a_pod_that_keeps_failing_is_asked_no_more() {
    let engines = Engine::start_several(vec![
        always(refusal("503 Service Unavailable")),
        always(ok("\"good\"")),
    ])
    .await;
    let both = [&engines[0], &engines[1]];
    let router = TestRouter::with(ejecting(Duration::from_hours(1)), &both, &json!({})).await;
    let mut client = router.client().await;

    crate::client::soon(async {
        while engines[0].seen().len() < 5 {
            assert_eq!(client.ask(&chat("m")).await.status, 200);
        }
    })
    .await;
    for _ in 0..40 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    assert_eq!(engines[0].seen().len(), 5, "it was ejected");
    router
        .until_metric("kthena_router_endpoint_ejections_total 1")
        .await;
}

#[tokio::test]
async fn the_last_pod_is_asked_however_it_fails() {
    let engine = Engine::start(|_, _| refusal("503 Service Unavailable")).await;
    let router = TestRouter::with(ejecting(Duration::from_hours(1)), &[&engine], &json!({})).await;
    let mut client = router.client().await;

    for _ in 0..20 {
        assert_eq!(client.ask(&chat("m")).await.status, 503);
    }

    assert_eq!(engine.seen().len(), 20);
}

#[tokio::test]
async fn a_pod_that_recovers_is_asked_again() {
    let recovering: Script = Box::new(|number, _| {
        if number < 5 {
            refusal("503 Service Unavailable")
        } else {
            ok("\"well\"")
        }
    });
    let engines = Engine::start_several(vec![recovering, always(ok("\"good\""))]).await;
    let both = [&engines[0], &engines[1]];
    let router = TestRouter::with(ejecting(Duration::from_millis(1)), &both, &json!({})).await;
    let mut client = router.client().await;

    crate::client::soon(async {
        loop {
            let answer = client.ask(&chat("m")).await;
            assert_eq!(answer.status, 200);
            if answer.text() == "\"well\"" {
                return;
            }
        }
    })
    .await;
}
