//! What stops the start, and what readiness waits for.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use kthena_router_observability::{LogFormat, LogOutput};
use kthena_router_proxy::{ProxyError, Router, RouterConfig, ScrapeConfig};
use rstest::rstest;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{get, soon};
use crate::engine::{Engine, Step, ok};
use crate::setup::{TestRouter, config};

#[rstest]
#[case::inference(|config: &mut RouterConfig, taken| config.listen = taken)]
#[case::metrics(|config: &mut RouterConfig, taken| config.metrics_listen = Some(taken))]
#[case::debug(|config: &mut RouterConfig, taken| config.debug_listen = Some(taken))]
#[tokio::test]
async fn a_port_that_is_taken(#[case] listen_at: fn(&mut RouterConfig, SocketAddr)) {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let mut config = config();
    listen_at(&mut config, taken);

    let error = Router::bind(config).await.err().unwrap();

    assert!(
        matches!(error, ProxyError::Bind { address, .. } if address == taken),
        "{error}"
    );
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let config = RouterConfig {
        access_log: Some((LogFormat::Text, LogOutput::File(folder.path().to_owned()))),
        ..config()
    };

    let error = Router::bind(config).await.err().unwrap();

    assert!(matches!(error, ProxyError::AccessLog(_)), "{error}");
}

#[tokio::test]
async fn readiness_waits_for_the_first_look_at_every_engine() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, seen| {
        let mut steps = Vec::new();
        if seen.head.starts_with("GET /metrics ") {
            steps.push(Step::Await(Arc::clone(&held)));
        }
        steps.extend(ok(r#"{"object":"list","data":[]}"#));
        steps
    })
    .await;
    let config = RouterConfig {
        scrape: Some(ScrapeConfig::every(Duration::from_hours(1))),
        ..config()
    };
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    engine.until_seen(1).await;

    assert_eq!(router.ask(&get("/readyz")).await.status, 503);
    gate.add_permits(100);

    soon(async { while router.ask(&get("/readyz")).await.status != 200 {} }).await;
}

#[tokio::test]
async fn a_router_without_engines_waits_for_none() {
    let config = RouterConfig {
        scrape: Some(ScrapeConfig::default()),
        ..config()
    };
    let router = TestRouter::with(config, &[], &json!({})).await;

    soon(async { while router.ask(&get("/readyz")).await.status != 200 {} }).await;
}

#[tokio::test]
async fn an_idle_router_shows_the_gauges_that_need_no_request() {
    let config = RouterConfig {
        expose_metrics: true,
        ..config()
    };
    let router = TestRouter::with(config, &[], &json!({})).await;

    let own = router.metrics().await;

    for line in [
        "kthena_router_active_requests 0",
        "kthena_router_prefix_cache_entries 0",
    ] {
        assert!(own.lines().any(|other| other == line), "{line} in {own}");
    }
    assert!(!own.contains("kthena_router_requests_total{"), "{own}");
    let beside = router.ask(&get("/metrics")).await;
    assert_eq!(beside.status, 200);
    assert!(
        beside
            .text()
            .contains("\nkthena_router_active_requests 0\n")
    );
}
