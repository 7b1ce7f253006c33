//! Answers that come whole, and how a request looks to the engine.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{CHAT, chat, post, post_with};
use crate::engine::{Engine, Step, answer, ok};
use crate::setup::{TestRouter, config};

#[tokio::test]
async fn an_answer_is_passed_on_with_its_headers() {
    let engine = Engine::start(|_, _| {
        vec![Step::Send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
              Keep-Alive: timeout=5\r\nConnection: keep-alive, x-private\r\nx-private: 1\r\nContent-Length: 13\r\n\r\n{\"ok\":\"fine\"}"
                .to_vec(),
        )]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!((answer.status, answer.text()), (200, r#"{"ok":"fine"}"#));
    assert_eq!(answer.headers("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(
        (answer.header("keep-alive"), answer.header("x-private")),
        (None, None)
    );
    assert_eq!(answer.header("content-length"), Some("13"));
}

#[tokio::test]
async fn the_engine_sees_the_request_without_what_concerns_the_connection() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let headers = "Authorization: Bearer k\r\nCookie: c=1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
                   Accept-Encoding: gzip\r\nX-Request-Id: client-id\r\nX-Two: a\r\nX-Two: b\r\n";

    let answer = router
        .ask(&post_with(
            "/v1/chat/completions?a=%20b",
            headers,
            r#"{"model":"m","messages":[],"stream":false}"#,
        ))
        .await;

    let seen = &engine.seen()[0];
    assert!(
        seen.head
            .starts_with("POST /v1/chat/completions?a=%20b HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("authorization"), Some("Bearer k"));
    assert_eq!(seen.header("cookie"), Some("c=1"));
    assert_eq!(seen.header("host"), Some("router"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("x-request-id"), Some("client-id"));
    assert_eq!(seen.head.matches("X-Two").count(), 2);
    for gone in ["connection", "x-hop", "te"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-request-id"), Some("client-id"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_request_without_an_id_gets_one_that_both_sides_see() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&chat("m")).await;

    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(engine.seen()[0].header("x-request-id"), Some(id.as_str()));
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(id.as_bytes()[14], b'4', "version");
    assert!(b"89ab".contains(&id.as_bytes()[19]), "variant");
}

#[rstest]
#[case::base_model_is_renamed("m", "served")]
#[case::adapter_keeps_its_name("adapter", "adapter")]
#[tokio::test]
async fn the_model_is_rewritten(#[case] asked: &str, #[case] sent: &str) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::with(config(), &[&engine], &json!({"model": "served"})).await;
    let body = format!(r#"{{"n":9007199254740993123,"model":"{asked}","messages":[],"x":1e400}}"#);

    router.ask(&post(CHAT, &body)).await;

    let expected = format!(
        r#"{{"include_usage":true,"n":9007199254740993123,"model":"{sent}","messages":[],"x":1e400}}"#
    );
    assert_eq!(String::from_utf8_lossy(&engine.seen()[0].body), expected);
}

#[rstest]
#[case::bad_request("400 Bad Request", 400)]
#[case::not_found("404 Not Found", 404)]
#[case::engine_error("500 Internal Server Error", 500)]
#[case::redirect("307 Temporary Redirect", 307)]
#[tokio::test]
async fn an_engines_own_refusal_is_the_clients_and_not_repeated(
    #[case] line: &'static str,
    #[case] status: u16,
) {
    let script = move |_: usize, _: &crate::engine::Seen| {
        vec![Step::Send(answer(
            line,
            "application/json",
            r#"{"error":"engine says"}"#,
        ))]
    };
    let engines = Engine::start_several(vec![Box::new(script), Box::new(script)]).await;
    let router = TestRouter::serving(&[&engines[0], &engines[1]]).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!(
        (answer.status, answer.text()),
        (status, r#"{"error":"engine says"}"#)
    );
    assert_eq!(
        engines
            .iter()
            .map(|engine| engine.seen().len())
            .sum::<usize>(),
        1
    );
}

#[tokio::test]
async fn connections_to_engines_are_reused() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    for _ in 0..5 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    assert!(engine.seen().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn a_reused_connection_that_died_is_replaced_without_the_client_noticing() {
    // The engine closes after each answer without having said so.
    let engine = Engine::start(|_, _| {
        let mut steps = ok("{}");
        steps.push(Step::Close);
        steps
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    for _ in 0..20 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }
}

#[tokio::test]
async fn an_engine_that_dies_of_a_request_is_not_given_it_again() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |number, _| match number {
        0 => ok("{}"),
        _ => vec![Step::Await(Arc::clone(&held)), Step::Close],
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    assert_eq!(client.ask(&chat("m")).await.status, 200);
    client.send(&chat("m")).await;
    engine.until_seen(2).await;

    // For longer than the end of a waiting connection and a request can miss each other.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    gate.add_permits(1);

    assert_eq!(client.answer().await.status, 502);
    let seen = engine.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[1].connection, 0,
        "the second came on the waiting connection"
    );
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let engine = Engine::start(|_, _| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec();
        bytes.extend(answer("200 OK", "application/json", "{}"));
        vec![Step::Send(bytes)]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;

    assert_eq!(router.ask(&chat("m")).await.status, 200);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_reaches_the_client_in_chunks() {
    let engine = Engine::start(|_, _| {
        vec![
            Step::Send(
                b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}".to_vec(),
            ),
            Step::Close,
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&chat("m")).await;

    assert_eq!((answer.text(), answer.complete), (r#"{"a":1}"#, true));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn requests_in_flight_decide_who_is_asked() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let script = move |_: usize, _: &crate::engine::Seen| {
        let mut steps = vec![Step::Await(Arc::clone(&held))];
        steps.extend(ok("{}"));
        steps
    };
    let engines = Engine::start_several(vec![
        Box::new(script.clone()),
        Box::new(script.clone()),
        Box::new(script),
    ])
    .await;
    let router = TestRouter::serving(&engines.iter().collect::<Vec<_>>()).await;

    let mut clients = Vec::new();
    for round in 1..=2 {
        for _ in 0..3 {
            let mut client = router.client().await;
            client.send(&chat("m")).await;
            router
                .until_metric(&format!(
                    "kthena_router_active_requests {}",
                    clients.len() + 1
                ))
                .await;
            clients.push(client);
        }
        for engine in &engines {
            engine.until_seen(round).await;
        }
    }

    gate.add_permits(6);
    for mut client in clients {
        assert_eq!(client.answer().await.status, 200);
    }
    router.until_metric("kthena_router_active_requests 0").await;
}

#[tokio::test]
async fn ipv6_engines_and_clients_are_served() {
    let engine = Engine::start_at("[::1]:0".parse().unwrap(), |_, _| ok("{}")).await;
    let mut config = config();
    config.listen = "[::1]:0".parse().unwrap();
    let router = TestRouter::with(config, &[&engine], &json!({})).await;

    assert_eq!(router.ask(&chat("m")).await.status, 200);
}
