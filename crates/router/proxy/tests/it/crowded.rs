//! Engines that have more to do than requests may be added to.

use std::time::Duration;

use kthena_router_pipeline::ErrorStyle;
use kthena_router_proxy::{RouterConfig, SchedulerConfig, SchedulingConfig, ScrapeConfig};
use rstest::rstest;
use serde_json::json;

use crate::client::{chat, get, soon};
use crate::engine::{Engine, Step, answer, ok};
use crate::setup::{TestRouter, config};

const PAGE: &str = "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 50\n\
                    # TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n";

fn few_may_wait() -> RouterConfig {
    let text = "scheduler:\n  pluginConfig: [{name: least-request, args: {maxWaitingRequests: 10}}]\n  \
                plugins: {Filter: {enabled: [least-request]}, Score: {enabled: [{name: least-request, weight: 1}]}}";
    RouterConfig {
        scheduling: SchedulingConfig {
            config: SchedulerConfig::read(text).unwrap().config,
            file: None,
        },
        scrape: Some(ScrapeConfig::every(Duration::from_hours(1))),
        ..config()
    }
}

#[rstest]
#[case::as_openai(ErrorStyle::OpenAi, 503)]
#[case::as_before(ErrorStyle::Legacy, 400)]
#[tokio::test]
async fn nobody_is_asked_and_the_filter_is_named(#[case] style: ErrorStyle, #[case] status: u16) {
    let engine = Engine::start(|_, seen| {
        if seen.head.starts_with("GET /metrics ") {
            return vec![Step::Send(answer("200 OK", "text/plain", PAGE))];
        }
        ok(r#"{"object":"list","data":[{"id":"m"}]}"#)
    })
    .await;
    let config = RouterConfig {
        error_style: style,
        ..few_may_wait()
    };
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    soon(async { while router.ask(&get("/readyz")).await.status != 200 {} }).await;

    let refused = router.ask(&chat("m")).await;

    let message =
        r#"can't schedule to target pod: pods have all been filtered out by "least-request""#;
    let told = refused.json();
    let text = match style {
        ErrorStyle::OpenAi => &told["error"]["message"],
        ErrorStyle::Legacy => &told,
    };
    assert_eq!((refused.status, text.as_str()), (status, Some(message)));
    assert!(
        engine
            .seen()
            .iter()
            .all(|seen| seen.head.starts_with("GET "))
    );
    router
        .until_metric(&format!(
            r#"kthena_router_requests_total{{model="m",path="/v1/chat/completions",status_code="{status}",error_type="request_failed",model_route="none",backend_type="unresolved","#
        ))
        .await;
    let log = router.stop().await;
    let line = &log[0];
    assert!(
        line.contains("error=\"scheduling:") && line.contains(" model_server=ns/s "),
        "{line}"
    );
    assert!(!line.contains("backend_name="), "{line}");
}
