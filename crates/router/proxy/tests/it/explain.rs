//! Answers that say where a request went and why.

use serde_json::json;

use crate::client::{CHAT, chat, post_with};
use crate::engine::{Engine, Script, Step, ok};
use crate::setup::{TestRouter, config};

const EXPLAIN: &str = "x-kthena-explain";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

fn asking() -> Vec<u8> {
    post_with(CHAT, "X-Kthena-Explain: 1\r\n", BODY)
}

async fn explaining(engines: &[&Engine], spec: &serde_json::Value) -> TestRouter {
    let mut config = config();
    config.explain = true;
    TestRouter::with(config, engines, spec).await
}

#[tokio::test]
async fn who_asks_is_told() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = explaining(&[&engine], &json!({})).await;

    let answer = router.ask(&asking()).await;

    assert_eq!(
        answer.headers(EXPLAIN),
        [
            "route ns/r rules[0] -> server ns/s -> pod pod-0: the only pod (pod-0 100: least-request 100, in flight 0)"
        ]
    );
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}

#[tokio::test]
async fn who_does_not_ask_is_not_told() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = explaining(&[&engine], &json!({})).await;
    let mut client = router.client().await;

    let other_value = post_with(CHAT, "x-kthena-explain: 0\r\n", BODY);
    for request in [chat("m"), other_value] {
        assert_eq!(client.ask(&request).await.header(EXPLAIN), None);
    }
}

#[tokio::test]
async fn a_router_that_does_not_explain_tells_nobody() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&asking()).await;

    assert_eq!((answer.status, answer.header(EXPLAIN)), (200, None));
}

#[tokio::test]
async fn pods_that_failed_first_are_named() {
    let good: Script = Box::new(|_, _| ok("{}"));
    let faulty: Script = Box::new(|_, _| vec![Step::Close]);
    let engines = Engine::start_several(vec![faulty, good]).await;
    let router = explaining(&[&engines[0], &engines[1]], &json!({})).await;
    let mut client = router.client().await;

    let told = crate::client::soon(async {
        // Which of two idle pods is tried first is drawn by lot.
        loop {
            let answer = client.ask(&asking()).await;
            if engines[0].seen().len() == 1 {
                return answer.header(EXPLAIN).unwrap().to_owned();
            }
        }
    })
    .await;

    assert_eq!(
        told,
        "route ns/r rules[0] -> server ns/s -> pod pod-1 after pod-0 (the connection was closed before an answer): \
         next best score (pod-0 100: least-request 100, in flight 0 | pod-1 100: least-request 100, in flight 0)"
    );
}

#[tokio::test]
async fn an_error_tells_which_pods_failed() {
    let engine = Engine::start(|_, _| vec![Step::Close]).await;
    let router = explaining(&[&engine], &json!({})).await;

    let answer = router.ask(&asking()).await;

    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.header(EXPLAIN),
        Some(
            "route ns/r rules[0] -> server ns/s -> no pod answered: \
             pod-0 (the connection was closed before an answer) (pod-0 100: least-request 100, in flight 0)"
        )
    );
}
