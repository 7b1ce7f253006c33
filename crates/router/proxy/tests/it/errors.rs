//! What clients see when nothing can be served: both columns of the table, over the wire.

use kthena_router_pipeline::ErrorStyle;
use kthena_router_view::View;
use rstest::rstest;
use serde_json::json;

use crate::client::{CHAT, chat, get, post, post_with};
use crate::engine::{Engine, Step, ok};
use crate::setup::{TestRouter, config, view};

async fn routers(engines: &[&Engine]) -> [TestRouter; 2] {
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    [
        TestRouter::serving(engines).await,
        TestRouter::with(legacy, engines, &json!({})).await,
    ]
}

#[rstest]
#[case::not_json("{", 400, 400, None)]
#[case::not_an_object("[1]", 400, 400, None)]
#[case::second_value(r#"{"model":"m"} {}"#, 400, 400, Some("invalid request body"))]
#[case::empty("", 400, 400, None)]
#[case::no_model(r#"{"prompt":"x"}"#, 400, 404, Some("model not found"))]
#[case::null("null", 400, 404, Some("model not found"))]
#[case::blank_model(r#"{"model":" ","prompt":"x"}"#, 400, 404, Some("model not found"))]
#[case::model_is_a_number(r#"{"model":1,"prompt":"x"}"#, 400, 404, Some("model not found"))]
#[case::no_prompt(r#"{"model":"m"}"#, 400, 404, Some("prompt not found"))]
#[case::unknown_model(
    r#"{"model":"nobody","prompt":"x"}"#,
    404,
    404,
    Some("route not found")
)]
#[case::no_pods(
    r#"{"model":"m","prompt":"x"}"#,
    503,
    503,
    Some("no available pods for model server: ns/s")
)]
#[tokio::test]
async fn requests_that_cannot_be_served(
    #[case] body: &str,
    #[case] status: u16,
    #[case] legacy_status: u16,
    #[case] message: Option<&str>,
) {
    let [router, legacy] = routers(&[]).await;

    let answer = router.ask(&post(CHAT, body)).await;
    let error = &answer.json()["error"];
    assert_eq!(answer.status, status, "{error}");
    for field in ["message", "type", "param", "code"] {
        assert!(error.get(field).is_some(), "{field}");
    }
    assert_eq!(answer.header("retry-after").is_some(), status == 503);
    let old = legacy.ask(&post(CHAT, body)).await;
    assert_eq!(old.status, legacy_status);
    assert_eq!(
        old.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(old.json().as_str(), error["message"].as_str());
    if let Some(message) = message {
        assert_eq!(error["message"], message);
    }
}

#[tokio::test]
async fn a_missing_server_or_provider_is_named() {
    let router = TestRouter::start(config()).await;
    let mut view = View::default();
    for (model, target) in [("a", "modelServerName"), ("b", "externalModelProviderName")] {
        let route = json!({
            "metadata": {"namespace": "ns", "name": model},
            "spec": {"modelName": model, "rules": [{"targetModels": [{target: "gone"}]}]},
        });
        view.apply_route(&serde_json::from_value(route).unwrap());
    }
    router.publisher.publish(view.snapshot());

    let server = router.ask(&chat("a")).await;
    let provider = router.ask(&chat("b")).await;

    assert_eq!((server.status, provider.status), (404, 404));
    assert_eq!(
        server.json()["error"]["message"],
        "can't find model server: ns/gone"
    );
    assert_eq!(
        provider.json()["error"]["message"],
        "can't find external model provider: ns/gone"
    );
}

#[tokio::test]
async fn a_connection_serves_on_after_an_error() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    for (request, status) in [
        (post(CHAT, "{"), 400),
        (chat("m"), 200),
        (chat("nobody"), 404),
        (get("/nothing"), 404),
        (chat("m"), 200),
    ] {
        assert_eq!(client.ask(&request).await.status, status);
    }
}

#[rstest]
#[case::announced(false)]
#[case::in_chunks(true)]
#[tokio::test]
async fn a_body_above_the_limit_is_refused(#[case] chunked: bool) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    if chunked {
        client
            .send(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let mut chunk = b"100000\r\n".to_vec();
        chunk.resize(chunk.len() + 0x10_0000, b' ');
        chunk.extend(b"\r\n");
        for _ in 0..65 {
            client.send(&chunk).await;
        }
    } else {
        let length = 100_u32 << 20;
        client
            .send(
                format!(
                    "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{{"
                )
                .as_bytes(),
            )
            .await;
    }
    let answer = client.answer().await;

    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["error"]["message"], "request body too large");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(engine.seen().is_empty());
}

#[tokio::test]
async fn a_large_body_reaches_the_engine_whole() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let prompt = "p".repeat(60 << 20);

    let answer = router
        .ask(&post(
            "/v1/completions",
            &format!(r#"{{"model":"m","prompt":"{prompt}"}}"#),
        ))
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(engine.seen()[0].body.len(), prompt.len() + 46);
}

#[rstest]
#[case::two_lengths("Content-Length: 1\r\nContent-Length: 2\r\n", 400)]
#[case::length_and_chunks("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400)]
#[case::unknown_coding("Transfer-Encoding: gzip, chunked\r\n", 400)]
#[case::no_header_line("nonsense\r\n", 400)]
#[case::too_many_fields("many", 431)]
#[case::too_long("long", 431)]
#[tokio::test]
async fn heads_that_are_refused(#[case] headers: &str, #[case] status: u16) {
    let router = TestRouter::serving(&[]).await;
    let headers = match headers {
        "many" => "x: y\r\n".repeat(101),
        "long" => format!("x: {}\r\n", "y".repeat(70 << 10)),
        other => other.to_owned(),
    };

    let answer = router
        .ask(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes())
        .await;

    assert_eq!(answer.status, status);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn rules_look_at_headers_and_path() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::start(config()).await;
    let mut view = view(&[&engine], &json!({}));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {"modelName": "m", "rules": [{
            "modelMatch": {"headers": {"X-Tier": {"exact": "gold"}}, "uri": {"prefix": "/v1/chat/"}},
            "targetModels": [{"modelServerName": "s"}],
        }]},
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    router.publisher.publish(view.snapshot());
    let body = r#"{"model":"m","prompt":"x"}"#;

    assert_eq!(
        router
            .ask(&post_with(CHAT, "x-tier: gold\r\n", body))
            .await
            .status,
        200
    );
    assert_eq!(
        router
            .ask(&post_with(
                "/v1/ch%61t/completions",
                "X-TIER: gold\r\n",
                body
            ))
            .await
            .status,
        200
    );
    assert_eq!(
        router
            .ask(&post_with(CHAT, "x-tier: iron\r\n", body))
            .await
            .status,
        404
    );
    assert_eq!(
        router
            .ask(&post_with("/v1/completions", "x-tier: gold\r\n", body))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_request_that_runs_keeps_its_engine_when_the_view_changes() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let held = std::sync::Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Await(std::sync::Arc::clone(&held))];
        steps.extend(ok("{}"));
        steps
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    engine.until_seen(1).await;

    router.publisher.publish(View::default().snapshot());
    assert_eq!(router.ask(&chat("m")).await.status, 404);
    gate.add_permits(1);

    assert_eq!(client.answer().await.status, 200);
}
