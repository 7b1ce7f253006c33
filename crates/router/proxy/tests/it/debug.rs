//! The debug listener: what an operator asks, and that it changes nothing.

use std::net::SocketAddr;

use kthena_router_proxy::RouterConfig;
use serde_json::{Value, json};

use crate::client::{Answer, Client, get, post};
use crate::engine::{Engine, Script, ok};
use crate::setup::{TestRouter, config, view};

fn idle() -> Script {
    Box::new(|_, _| ok("{}"))
}

async fn router(engines: &[&Engine]) -> (TestRouter, SocketAddr) {
    let config = RouterConfig {
        debug_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..config()
    };
    let router = TestRouter::with(config, engines, &json!({})).await;
    let address = router.debug.unwrap();
    (router, address)
}

async fn explain(debug: SocketAddr, question: &Value) -> Answer {
    let request = post("/debug/explain", &question.to_string());
    Client::connect(debug).await.ask(&request).await
}

#[tokio::test]
async fn a_decision_is_told_and_not_carried_out() {
    let engines = Engine::start_several(vec![idle(), idle()]).await;
    let (router, debug) = router(&[&engines[0], &engines[1]]).await;
    let question = json!({
        "path": "/v1/completions",
        "headers": {"X-Tier": "gold"},
        "body": {"model": "m", "prompt": "hello there"},
    });

    let answer = explain(debug, &question).await;

    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!(told["route"], "ns/r");
    assert_eq!(told["rule"]["position"], 0);
    assert_eq!(told["server"], "ns/s");
    assert_eq!(told["considered"], 2);
    assert!(told.get("error").is_none(), "{told}");
    let candidates = told["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2);
    assert_eq!(told["pod"], candidates[0]["pod"]);
    assert_eq!(told["runnerUp"], candidates[1]["pod"]);
    assert!(engines.iter().all(|engine| engine.seen().is_empty()));
    assert_eq!(router.stop().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_would_be_refused_is_told_with_the_status() {
    let (_router, debug) = router(&[]).await;

    let unknown = explain(debug, &json!({"body": {"model": "x", "prompt": "a"}})).await;
    let told = unknown.json();
    assert_eq!(unknown.status, 200);
    assert_eq!(
        (&told["error"]["status"], &told["model"]),
        (&json!(404), &json!("x"))
    );

    let empty = explain(debug, &json!({"body": {"model": "m", "prompt": "a"}}))
        .await
        .json();
    assert_eq!(
        (&empty["error"]["status"], &empty["route"]),
        (&json!(503), &json!("ns/r"))
    );

    let nonsense = explain(debug, &json!({"question": 1})).await;
    assert_eq!(nonsense.status, 400);
    assert!(
        nonsense.json()["error"]
            .as_str()
            .unwrap()
            .contains("question")
    );
}

#[tokio::test]
async fn what_no_route_takes_is_told_with_the_routes_there_are() {
    let (router, debug) = router(&[]).await;
    let mut view = view(&[], &json!({}));
    let gold = json!({
        "metadata": {"namespace": "ns", "name": "gold"},
        "spec": {"modelName": "gold", "rules": [{
            "modelMatch": {"headers": {"x-tier": {"exact": "gold"}}},
            "targetModels": [{"modelServerName": "s"}],
        }]},
    });
    view.apply_route(&serde_json::from_value(gold).unwrap());
    router.publisher.publish(view.snapshot());
    let ask = async |model| explain(debug, &json!({"body": {"model": model, "prompt": "a"}})).await;

    let unknown = ask("x").await.json();
    assert_eq!(unknown["models"], json!(["adapter", "gold", "m"]));
    assert_eq!(unknown.get("unmatched"), None);

    let unmatched = ask("gold").await.json();
    assert_eq!(unmatched["unmatched"], json!(["ns/gold"]));
    assert_eq!(unmatched.get("models"), None);
}

#[tokio::test]
async fn nothing_else_is_there_and_the_other_listeners_do_not_explain() {
    let (router, debug) = router(&[]).await;
    let mut client = Client::connect(debug).await;

    for path in ["/", "/healthz", "/v1/models", "/metrics", "/debug"] {
        assert_eq!(client.ask(&get(path)).await.status, 404, "{path}");
    }
    let wrong = client.ask(&get("/debug/explain")).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    let request = post("/debug/explain", r#"{"body":{"model":"m","prompt":"a"}}"#);
    assert_eq!(router.ask(&request).await.status, 404);
    assert_eq!(
        Client::connect(router.metrics)
            .await
            .ask(&request)
            .await
            .status,
        404
    );
}
