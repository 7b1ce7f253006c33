//! Answers that come in pieces.

use std::sync::Arc;

use rstest::rstest;
use tokio::sync::Semaphore;

use crate::client::{CHAT, post};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Step, event};
use crate::setup::TestRouter;

const USAGE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

fn stream(model: &str, more: &str) -> Vec<u8> {
    post(
        CHAT,
        &format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"stream":true{more}}}"#
        ),
    )
}

fn whole_stream() -> Vec<Step> {
    let mut steps = vec![Step::Send(STREAM_HEAD.to_vec())];
    for number in 0..3 {
        steps.push(Step::Send(event(&format!(
            r#"{{"choices":[{{"delta":{{"content":"{number}"}}}}],"usage":null}}"#
        ))));
    }
    steps.push(Step::Send(event(USAGE)));
    steps.push(Step::Send(event("[DONE]")));
    steps.push(Step::Send(LAST_CHUNK.to_vec()));
    steps
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_made() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event(r#"{"choices":[{"delta":{"content":"first"}}]}"#)),
            Step::Await(Arc::clone(&held)),
            Step::Send(event(r#"{"choices":[{"delta":{"content":"second"}}]}"#)),
            Step::Send(event("[DONE]")),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    client.send(&stream("m", "")).await;
    client.until("first").await;
    assert!(!client.received().contains("second"));
    gate.add_permits(1);

    let answer = client.answer().await;
    assert!(answer.complete);
    assert!(
        answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
}

#[rstest]
#[case::not_asked_for("", false)]
#[case::asked_for(r#","stream_options":{"include_usage":true}"#, true)]
#[case::declined(r#","stream_options":{"include_usage":false,"x":1}"#, false)]
#[tokio::test]
async fn usage_reaches_only_a_client_that_asked(#[case] options: &str, #[case] shown: bool) {
    let engine = Engine::start(|_, _| whole_stream()).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&stream("m", options)).await;

    assert!(answer.complete);
    assert_eq!(
        answer.text().contains("prompt_tokens"),
        shown,
        "{}",
        answer.text()
    );
    assert_eq!(
        answer.text().matches("data: ").count(),
        if shown { 5 } else { 4 }
    );
    assert_eq!(
        engine.seen()[0].json()["stream_options"]["include_usage"],
        true
    );
    let log = router.stop().await;
    // The estimate counts "hi" as ChatML: 30 characters.
    assert!(log[0].contains(" tokens=8/5 "), "{}", log[0]);
}

#[tokio::test]
async fn a_stream_arrives_the_same_however_it_is_cut() {
    let whole: Vec<u8> = whole_stream()
        .into_iter()
        .flat_map(|step| match step {
            Step::Send(bytes) => bytes,
            _ => Vec::new(),
        })
        .collect();
    let cut = move |number: usize, _: &crate::engine::Seen| {
        whole
            .chunks(number + 1)
            .map(|piece| Step::Send(piece.to_vec()))
            .collect()
    };
    let engine = Engine::start(cut).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;

    let expected = client.ask(&stream("m", "")).await.body;
    for _ in 1..40 {
        assert_eq!(client.ask(&stream("m", "")).await.body, expected);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_engine_connection_with_it() {
    let engine = Engine::start(|_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event(r#"{"choices":[{"delta":{"content":"x"}}]}"#)),
            Step::UntilClosed,
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&stream("m", "")).await;
    client.until("content").await;

    drop(client);

    engine.until_closed(1).await;
    router.until_metric("kthena_router_active_requests 0").await;
    let log = router.stop().await;
    assert!(log[0].contains(" 200 error=\"client_closed:"), "{}", log[0]);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_cancels_too() {
    let engine = Engine::start(|_, _| vec![Step::UntilClosed]).await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&stream("m", "")).await;
    engine.until_seen(1).await;

    drop(client);

    engine.until_closed(1).await;
    router.until_metric("kthena_router_active_requests 0").await;
    let log = router.stop().await;
    assert_eq!(log.len(), 1);
    assert!(log[0].contains(" 499 error=\"client_closed:"), "{}", log[0]);
}

#[rstest]
#[case::closed(Step::Close)]
#[case::reset(Step::Reset)]
#[case::nonsense(Step::Send(b"this is no chunk".to_vec()))]
#[tokio::test]
async fn a_stream_that_breaks_off_reaches_the_client_broken(#[case] end: Step) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event(r#"{"choices":[{"delta":{"content":"x"}}]}"#)),
            Step::Await(Arc::clone(&held)),
            end.clone(),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&stream("m", "")).await;
    client.until("\"content\"").await;
    gate.add_permits(1);

    let answer = client.answer().await;

    assert!(!answer.complete);
    assert!(answer.text().contains("\"content\""));
    assert_eq!(
        engine.seen().len(),
        1,
        "nothing is repeated after the first byte"
    );
    router.until_metric("kthena_router_active_requests 0").await;
    assert!(
        router
            .metrics()
            .await
            .contains(r#"error_type="response_forwarding""#)
    );
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_engine_and_loses_nothing() {
    const EVENTS: usize = 2000;
    let engine = Engine::start(|_, _| {
        let filler = "x".repeat(4000);
        let mut steps = vec![Step::Send(STREAM_HEAD.to_vec())];
        steps.extend(
            (0..EVENTS)
                .map(|number| Step::Send(event(&format!(r#"{{"n":{number},"f":"{filler}"}}"#)))),
        );
        steps.push(Step::Send(LAST_CHUNK.to_vec()));
        steps
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&stream("m", "")).await;
    engine.until_seen(1).await;

    let answer = client.answer().await;

    assert!(answer.complete);
    let numbers: Vec<usize> = answer
        .text()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("data: {\"n\":")?
                .split(',')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_old_client_gets_the_payload_and_the_end_of_the_connection() {
    let engine = Engine::start(|_, _| whole_stream()).await;
    let router = TestRouter::serving(&[&engine]).await;
    let body = r#"{"model":"m","prompt":"x","stream":true}"#;
    let request = format!(
        "POST /v1/completions HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );

    let answer = router.ask(request.as_bytes()).await;

    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(
        answer.text().starts_with("data: ") && answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
}
