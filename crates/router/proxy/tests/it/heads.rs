//! Requests for a head alone: whatever answers them, nothing follows the head.

use crate::client::{CHAT, get};
use crate::engine::{Engine, Step};
use crate::setup::TestRouter;

fn head(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HEAD {path} HTTP/1.1\r\nHost: router\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn the_routers_own_answers_have_no_body() {
    let router = TestRouter::serving(&[]).await;
    let mut client = router.client().await;

    for (path, body, status) in [
        ("/healthz", "", 404),
        ("/nothing", "", 404),
        ("/v1/models", "", 400),
        (CHAT, r#"{"model":"stranger","prompt":"x"}"#, 404),
    ] {
        client.send(&head(path, body)).await;
        let told = client.answer_without_body().await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        // The next answer begins where the head ended.
        assert_eq!(
            client.ask(&get("/healthz")).await.text(),
            r#"{"message":"ok"}"#,
            "after {path}"
        );
    }
}

#[tokio::test]
async fn an_engines_answer_has_none_either() {
    let engine = Engine::start(|_, _| {
        vec![Step::Send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n".to_vec(),
        )]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    for _ in 0..2 {
        client
            .send(&head(CHAT, r#"{"model":"m","prompt":"x"}"#))
            .await;
        let told = client.answer_without_body().await;
        assert!(told.contains("content-length: 12\r\n"), "{told}");
    }

    assert!(engine.seen()[0].head.starts_with("HEAD "));
}
