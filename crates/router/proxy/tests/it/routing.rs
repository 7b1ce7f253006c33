//! Which requests a route takes, over the wire.

use std::sync::Arc;

use kthena_router_view::View;
use rstest::rstest;
use serde_json::{Value, json};

use crate::client::{CHAT, chat, get, post, post_with};
use crate::engine::{Engine, ok};
use crate::setup::{TestRouter, config, view};

const BODY: &str = r#"{"model":"m","prompt":"x"}"#;

/// A router whose only route asks this of requests.
async fn asking(engine: &Engine, wanted: Value) -> TestRouter {
    let mut view = view(&[engine], &json!({}));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {"modelName": "m", "rules": [{
            "modelMatch": wanted,
            "targetModels": [{"modelServerName": "s"}],
        }]},
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());
    router
}

#[rstest]
#[case::first_of_two("gold", "x-tier: gold\r\nX-Tier: iron\r\n", 200)]
#[case::not_the_second("gold", "x-tier: iron\r\nX-Tier: gold\r\n", 404)]
#[case::absent_is_empty("", "", 200)]
#[case::present_is_not("", "x-tier: iron\r\n", 404)]
#[tokio::test]
async fn the_first_value_of_a_header_counts(
    #[case] wanted: &str,
    #[case] headers: &str,
    #[case] status: u16,
) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = asking(&engine, json!({"headers": {"x-tier": {"exact": wanted}}})).await;

    let answer = router.ask(&post_with(CHAT, headers, BODY)).await;

    assert_eq!(answer.status, status);
}

#[tokio::test]
async fn the_host_of_a_request_is_no_header_of_it() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let named = asking(&engine, json!({"headers": {"Host": {"exact": "router"}}})).await;
    let unnamed = asking(&engine, json!({"headers": {"Host": {"exact": ""}}})).await;

    assert_eq!(named.ask(&post(CHAT, BODY)).await.status, 404);
    assert_eq!(unnamed.ask(&post(CHAT, BODY)).await.status, 200);
}

#[tokio::test]
async fn the_query_is_no_part_of_the_path() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = asking(&engine, json!({"uri": {"exact": CHAT}})).await;

    let path = format!("{CHAT}?a=b");
    assert_eq!(router.ask(&post(&path, BODY)).await.status, 200);
}

#[rstest]
#[case::doubled_slash("//v1/chat/completions")]
#[case::another_version("/v2/chat/completions")]
#[case::prefix_of_the_name("/v1beta/chat/completions")]
#[tokio::test]
async fn paths_beside_the_api_are_not_there(#[case] path: &str) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&post(path, BODY)).await;

    assert_eq!((answer.status, answer.text()), (404, "404 page not found"));
    assert!(engine.seen().is_empty());
    assert!(router.stop().await.is_empty(), "it has no line in the log");
}

#[rstest]
#[case::multipart("multipart/form-data; boundary=x", "--x\r\n\r\naudio\r\n--x--\r\n")]
#[case::form("application/x-www-form-urlencoded", "model=m")]
#[tokio::test]
async fn bodies_that_are_no_json_are_refused(#[case] kind: &str, #[case] body: &str) {
    let router = TestRouter::serving(&[]).await;
    let length = body.len();
    let request = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    );

    assert_eq!(router.ask(request.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn an_adapter_that_no_route_names_is_unknown() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    assert_eq!(router.ask(&chat("adapter")).await.status, 200);
    let unknown = router.ask(&chat("adapter-2")).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn the_oldest_route_of_a_name_answers_until_it_is_gone() {
    let engines = Engine::start_several(vec![
        Box::new(|_, _| ok("\"old\"")),
        Box::new(|_, _| ok("\"young\"")),
    ])
    .await;
    let mut view = View::default();
    for (number, (name, engine)) in ["old", "young"].into_iter().zip(&engines).enumerate() {
        let server = json!({
            "metadata": {"namespace": name, "name": "s"},
            "spec": {
                "workloadSelector": {"matchLabels": {"app": "m"}},
                "workloadPort": {"port": engine.address.port()},
            },
        });
        view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
        let route = json!({
            "metadata": {
                "namespace": name, "name": "r",
                "creationTimestamp": format!("2026-01-0{}T00:00:00Z", number + 1),
            },
            "spec": {"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "s"}]}]},
        });
        view.apply_route(&serde_json::from_value(route).unwrap());
        view.apply_pod(kthena_router_view::PodFacts {
            namespace: name.to_owned(),
            name: "pod".to_owned(),
            labels: [("app".to_owned(), "m".to_owned())].into(),
            ready: true,
            address: Some(engine.address.ip()),
            ..Default::default()
        });
    }
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());
    assert_eq!(router.ask(&chat("m")).await.text(), "\"old\"");

    view.delete_route("old", "r");
    router.publisher.publish(view.snapshot());

    assert_eq!(router.ask(&chat("m")).await.text(), "\"young\"");
    let models = router.ask(&get("/v1/models")).await.json();
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
}
