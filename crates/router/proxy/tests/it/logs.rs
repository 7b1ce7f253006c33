//! The access log of a running router.

use crate::client::{chat, get, post, post_with};
use crate::engine::{Engine, ok};
use crate::setup::TestRouter;

#[tokio::test]
async fn every_request_on_v1_has_one_line_and_no_other_request_has() {
    let engine = Engine::start(|_, _| {
        ok(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#)
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#;
    client
        .ask(&post_with(
            "/v1/chat/completions?key=secret",
            "X-Request-Id: my-id\r\n",
            body,
        ))
        .await;
    client.ask(&get("/healthz")).await;
    client.ask(&get("/v1/models")).await;
    client.ask(&chat("no\\nbody")).await;
    client.ask(&post("/v1/completions", "{")).await;

    let log = router.stop().await;

    assert_eq!(log.len(), 4, "{log:#?}");
    let (time, rest) = log[0].split_once("] ").unwrap();
    assert!(time.starts_with("[20") && time.ends_with('Z'), "{time}");
    let (fields, timings) = rest.split_once(" timings=").unwrap();
    assert_eq!(
        fields,
        "\"POST /v1/chat/completions HTTP/1.1\" 200 model_name=m model_route=ns/r model_server=ns/s \
         selected_pod=pod-0 request_id=my-id backend_type=model_server backend_name=ns/s upstream_model=m \
         upstream_status_code=200 upstream_attempts=1 tokens=10/4"
    );
    assert!(timings.contains("ms("), "{timings}");
    assert!(
        log[1].contains("\"GET /v1/models HTTP/1.1\" 200 model_name= request_id="),
        "{}",
        log[1]
    );
    assert!(
        log[2].contains(r#" 404 error="route_not_found:route not found" model_name="no\nbody" "#),
        "{}",
        log[2]
    );
    assert!(
        log[3].contains(r#" 400 error="request_parsing:invalid JSON at byte 1:"#),
        "{}",
        log[3]
    );
}
