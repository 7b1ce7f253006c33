//! Ways a request may arrive.

use crate::client::{CHAT, chat, post_with};
use crate::engine::{Engine, ok};
use crate::setup::{TestRouter, config};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let engine = Engine::start(|number, _| ok(&format!("{number}"))).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    client
        .send(&[chat("m"), chat("m"), chat("m")].concat())
        .await;

    for expected in ["0", "1", "2"] {
        assert_eq!(client.answer().await.text(), expected);
    }
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    for byte in chat("m") {
        client.send(&[byte]).await;
    }

    assert_eq!(client.answer().await.status, 200);
    assert_eq!(engine.seen()[0].json()["model"], "m");
}

#[tokio::test]
async fn a_chunked_body_reaches_the_engine_with_a_length() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    let mut request =
        format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in BODY.as_bytes().chunks(7) {
        request.extend(format!("{:X};ext=1\r\n", piece.len()).bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\nTrailer: x\r\n\r\n");
    request.extend(chat("m"));

    client.send(&request).await;

    assert_eq!(client.answer().await.status, 200);
    assert_eq!(
        client.answer().await.status,
        200,
        "what follows is the next request"
    );
    let seen = engine.seen();
    assert_eq!(seen[0].header("transfer-encoding"), None);
    assert_eq!(seen[0].body, seen[1].body);
}

#[tokio::test]
async fn a_client_that_asks_first_is_invited() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    let request = post_with(CHAT, "Expect: 100-continue\r\n", BODY);
    let head = request.len() - BODY.len();

    client.send(&request[..head]).await;
    let invitation = client.answer_without_body().await;
    assert!(invitation.starts_with("HTTP/1.1 100 "), "{invitation}");
    client.send(&request[head..]).await;

    assert_eq!(client.answer().await.status, 200);
    assert_eq!(engine.seen()[0].header("expect"), None);
}

#[tokio::test]
async fn a_client_that_asks_first_with_too_much_is_refused_instead() {
    let router = TestRouter::serving(&[]).await;

    let answer = router
        .ask(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n").as_bytes())
        .await;

    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_target_in_absolute_form_is_understood() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router
        .ask(&post_with(
            &format!("http://router.example{CHAT}"),
            "",
            BODY,
        ))
        .await;

    assert_eq!(answer.status, 200);
    assert!(
        engine.seen()[0]
            .head
            .starts_with(&format!("POST {CHAT} HTTP/1.1\r\n"))
    );
}

#[tokio::test]
async fn a_head_that_is_not_finished_in_time_ends_the_connection() {
    let mut config = config();
    config.limits.head_time = std::time::Duration::from_millis(1);
    let router = TestRouter::with(config, &[], &serde_json::json!({})).await;
    let mut client = router.client().await;

    client.send(b"POST /v1/chat").await;

    client.until_closed().await;
}
