//! Clients that ask for too much, too slowly, or never take what they asked for.

use std::fmt::Write;
use std::time::Duration;

use kthena_router_proxy::RouterConfig;
use rstest::rstest;
use serde_json::json;

use crate::client::{CHAT, chat, get, post_with};
use crate::engine::{Engine, Step, ok};
use crate::setup::{TestRouter, config};

fn impatient() -> RouterConfig {
    let mut config = config();
    config.limits.head_time = Duration::from_millis(300);
    config.limits.idle = Duration::from_millis(300);
    config
}

async fn router(config: RouterConfig) -> TestRouter {
    TestRouter::with(config, &[], &json!({})).await
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_refused_whole_and_the_client_hears_why() {
    let router = router(config()).await;
    let mut client = router.client().await;
    let size = 100 << 20;
    client
        .send(
            format!("POST {CHAT} HTTP/1.1\r\nhost: r\r\ncontent-length: {size}\r\n\r\n").as_bytes(),
        )
        .await;
    let piece = vec![b' '; 1 << 20];
    for _ in 0..100 {
        client.send(&piece).await;
    }

    let answer = client.answer().await;

    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("request body too large"));
    assert_eq!(answer.header("connection"), Some("close"));
    client.until_closed().await;
}

#[tokio::test]
async fn a_body_in_chunks_is_cut_off_at_the_limit() {
    let mut config = config();
    config.limits.body = 1 << 20;
    let router = router(config).await;
    let mut client = router.client().await;
    client
        .send(
            format!("POST {CHAT} HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n")
                .as_bytes(),
        )
        .await;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b' ');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..17 {
        client.send(&chunk).await;
    }

    let answer = client.answer().await;

    assert_eq!(answer.status, 413);
}

#[rstest]
#[case::one_long_field(1, 70_000)]
#[case::many_fields(101, 10)]
#[tokio::test]
async fn a_header_that_is_too_large(#[case] fields: usize, #[case] size: usize) {
    let router = router(config()).await;
    let value = "z".repeat(size);
    let mut headers = String::new();
    for number in 0..fields {
        write!(headers, "x-{number}: {value}\r\n").unwrap();
    }

    let answer = router.ask(&post_with(CHAT, &headers, "{}")).await;

    assert_eq!(answer.status, 431);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[rstest]
#[case::none("HTTP/1.1\r\n", 400)]
#[case::two("HTTP/1.1\r\nhost: a\r\nHost: a\r\n", 400)]
#[case::two_in_old("HTTP/1.0\r\nhost: a\r\nhost: b\r\n", 400)]
#[case::empty("HTTP/1.1\r\nhost:\r\n", 200)]
#[case::none_in_old("HTTP/1.0\r\n", 200)]
#[tokio::test]
async fn a_request_names_one_host(#[case] head: &str, #[case] status: u16) {
    let router = router(config()).await;

    let answer = router
        .ask(format!("GET /healthz {head}\r\n").as_bytes())
        .await;

    assert_eq!(answer.status, status);
    if status != 200 {
        assert_eq!(answer.text(), "a request needs one Host header");
    }
}

#[tokio::test]
async fn a_header_that_trickles_in_is_given_up() {
    let router = router(impatient()).await;
    let mut slow = router.client().await;
    let mut silent = router.client().await;
    silent
        .send(b"POST /v1/chat/completions HTTP/1.1\r\nho")
        .await;

    // Byte by byte, so that there is always progress; other requests set the pace.
    let mut other = router.client().await;
    let trickle = async {
        for byte in b"GET /healthz HTTP/1.1\r\nx-a: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            slow.send(std::slice::from_ref(byte)).await;
            assert_eq!(other.ask(&get("/healthz")).await.status, 200);
        }
    };
    let refused = silent.answer();
    let answer = tokio::select! {
        () = trickle => unreachable!("it has no end"),
        answer = refused => answer,
    };

    assert_eq!(answer.status, 408);
    silent.until_closed().await;
    assert_eq!(slow.answer().await.status, 408);
    slow.until_closed().await;
    assert_eq!(router.ask(&get("/healthz")).await.status, 200);
}

#[tokio::test]
async fn half_a_body_is_given_up_and_logged() {
    let router = router(impatient()).await;
    let mut client = router.client().await;
    client
        .send(
            format!("POST {CHAT} HTTP/1.1\r\nhost: r\r\ncontent-length: 50\r\n\r\n{{\"model\"")
                .as_bytes(),
        )
        .await;

    let answer = client.answer().await;

    assert_eq!(answer.status, 408);
    assert_eq!(
        answer.json()["error"]["message"],
        "the request body did not arrive in time"
    );
    client.until_closed().await;
    router.until_metric("kthena_router_active_requests 0").await;
    let log = router.stop().await;
    assert!(log[0].contains(" 408 "), "{}", log[0]);
}

#[rstest]
#[case::with_a_length("content-length: 1000000", "x")]
#[case::in_chunks("transfer-encoding: chunked", "1\r\nx\r\n")]
#[tokio::test]
async fn a_body_that_trickles_in_is_given_up(#[case] framing: &str, #[case] piece: &str) {
    let router = router(impatient()).await;
    let mut slow = router.client().await;
    slow.send(format!("POST {CHAT} HTTP/1.1\r\nhost: r\r\n{framing}\r\n\r\n").as_bytes())
        .await;

    // There is always progress, if only a byte.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let trickle = async {
        while router
            .metrics()
            .await
            .contains("\nkthena_router_active_requests 1\n")
        {
            slow.send(piece.as_bytes()).await;
            pace.tick().await;
        }
    };
    crate::client::soon(trickle).await;

    assert_eq!(slow.answer().await.status, 408);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let router = router(impatient()).await;
    let mut client = router.client().await;
    assert_eq!(client.ask(&get("/healthz")).await.status, 200);

    client.until_closed().await;

    assert_eq!(client.received(), "");
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_connection_and_frees_the_engine() {
    let endless = format!("\"{}\"", "x".repeat(32 << 20));
    let engine = Engine::start(move |number, _| {
        if number == 0 {
            let mut steps = ok(&endless);
            steps.push(Step::UntilClosed);
            steps
        } else {
            ok("{}")
        }
    })
    .await;
    let mut config = config();
    config.limits.idle = Duration::from_secs(1);
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let mut deaf = router.client().await;
    deaf.send(&chat("m")).await;
    deaf.until("HTTP/1.1 200 OK").await;

    router.until_metric("kthena_router_active_requests 0").await;

    assert!(!deaf.answer().await.complete);
    assert_eq!(router.ask(&chat("m")).await.status, 200);
    let log = router.stop().await;
    assert!(log[0].contains("client_closed"), "{}", log[0]);
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_reaches_the_engine_where_it_is_allowed() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut config = config();
    config.limits.body = 128 << 20;
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    let prompt = "x".repeat(100 << 20);
    let body = format!(r#"{{"model":"m","prompt":"{prompt}"}}"#);

    let answer = router
        .ask(&crate::client::post("/v1/completions", &body))
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(engine.seen()[0].json()["prompt"], prompt);
}
