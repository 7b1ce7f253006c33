//! What the router answers itself.

use kthena_router_view::View;
use serde_json::json;

use crate::client::{Client, chat, get, post};
use crate::engine::{Engine, ok};
use crate::setup::{TestRouter, config};

#[tokio::test]
async fn health_is_answered_at_once_and_readiness_after_the_first_snapshot() {
    let router = TestRouter::start(config()).await;

    let health = router.ask(&get("/healthz")).await;
    assert_eq!((health.status, health.text()), (200, r#"{"message":"ok"}"#));
    let early = router.ask(&get("/readyz")).await;
    assert_eq!(
        (early.status, early.text()),
        (503, r#"{"message":"router is not ready"}"#)
    );
    assert_eq!(router.ask(&chat("m")).await.status, 503);

    router.publisher.publish(View::default().snapshot());

    let ready = router.ask(&get("/readyz")).await;
    assert_eq!(
        (ready.status, ready.text()),
        (200, r#"{"message":"router is ready"}"#)
    );
}

#[tokio::test]
async fn other_paths() {
    let router = TestRouter::serving(&[]).await;
    let mut client = router.client().await;

    let missing = client.ask(&get("/models")).await;
    assert_eq!(
        (missing.status, missing.text()),
        (404, "404 page not found")
    );
    assert_eq!(missing.header("content-type"), Some("text/plain"));
    assert_eq!(client.ask(&get("/metrics")).await.status, 404);
    let moved = client.ask(&get("/v1?a=b")).await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("/v1/?a=b"))
    );
    assert_eq!(
        client
            .ask(b"POST /v1 HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .status,
        307
    );
    assert_eq!(
        client
            .ask(b"POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .status,
        404
    );
    assert_eq!(client.ask(&get("/v1/chat/completions")).await.status, 400);
    assert_eq!(
        client
            .ask(b"OPTIONS /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn models_are_listed_by_name() {
    let router = TestRouter::serving(&[]).await;

    let models = router.ask(&get("/v1/models")).await;

    let expected = json!({"object": "list", "data": [
        {"id": "adapter", "object": "model", "created": 0, "owned_by": "kthena"},
        {"id": "m", "object": "model", "created": 0, "owned_by": "kthena"},
    ]});
    assert_eq!((models.status, models.json()), (200, expected));

    router.publisher.publish(View::default().snapshot());
    assert_eq!(
        router.ask(&get("/v1/models")).await.json()["data"],
        json!([])
    );
}

#[tokio::test]
async fn a_model_is_told_of_by_name() {
    let router = TestRouter::serving(&[]).await;
    let mut client = router.client().await;

    for (path, expected) in [
        ("/v1/models/m", Some("m")),
        ("/v1/models/adapte%72?a=b", Some("adapter")),
        ("/v1/models/stranger", None),
        ("/v1/models/", None),
    ] {
        let answer = client.ask(&get(path)).await;
        if let Some(id) = expected {
            let model = json!({"id": id, "object": "model", "created": 0, "owned_by": "kthena"});
            assert_eq!((answer.status, answer.json()), (200, model), "{path}");
        } else {
            let code = &answer.json()["error"]["code"];
            assert_eq!(
                (answer.status, code.as_str()),
                (404, Some("model_not_found"))
            );
        }
    }
}

#[tokio::test]
async fn metrics_count_each_request_once() {
    let engine =
        Engine::start(|_, _| ok(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#)).await;
    let router = TestRouter::serving(&[&engine]).await;
    for _ in 0..3 {
        router.ask(&chat("m")).await;
    }
    router.ask(&chat("somebody's secret")).await;
    router
        .ask(&post("/v1/whatever", r#"{"model":"m","prompt":"x"}"#))
        .await;
    router.ask(&post("/v1/completions", "{")).await;

    router.until_metric("kthena_router_active_requests 0").await;
    let text = router.metrics().await;

    let to =
        r#"model_route="ns/r",backend_type="model_server",backend_name="ns/s",upstream_model="m""#;
    for line in [
        format!(r#"kthena_router_requests_total{{model="m",path="/v1/chat/completions",status_code="200",error_type="successful_request",{to}}} 3"#),
        format!(r#"kthena_router_requests_total{{model="m",path="other",status_code="200",error_type="successful_request",{to}}} 1"#),
        r#"kthena_router_requests_total{model="unknown",path="/v1/chat/completions",status_code="404",error_type="route_not_found",model_route="none",backend_type="unresolved",backend_name="none",upstream_model="none"} 1"#.to_owned(),
        format!(r#"kthena_router_request_duration_seconds_count{{model="m",path="/v1/chat/completions",status_code="200",{to}}} 3"#),
        format!(r#"kthena_router_tokens_total{{model="m",path="/v1/chat/completions",token_type="input",{to}}} 24"#),
        format!(r#"kthena_router_tokens_total{{model="m",path="/v1/chat/completions",token_type="output",{to}}} 12"#),
        format!(r#"kthena_router_active_upstream_requests{{model_server="ns/s",{to}}} 0"#),
        r#"kthena_router_active_downstream_requests{model="m"} 0"#.to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\nin\n{text}");
    }
    assert!(!text.contains("secret"));
    assert!(text.contains("process_resident_memory_bytes "));
}

#[tokio::test]
async fn the_metrics_listener_serves_nothing_else() {
    let router = TestRouter::serving(&[]).await;
    let mut client = Client::connect(router.metrics).await;

    assert_eq!(client.ask(&get("/healthz")).await.status, 404);
    assert_eq!(client.ask(&get("/v1/models")).await.status, 404);
    assert_eq!(
        client.ask(&get("/metrics")).await.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let packed = client
        .ask(b"GET /metrics HTTP/1.1\r\nhost: x\r\nAccept-Encoding: br, gzip\r\n\r\n")
        .await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
}
