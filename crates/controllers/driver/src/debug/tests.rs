use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use kthena_cluster::{Change, events};
use kube::Client;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::router;
use crate::metrics::Metrics;
use crate::observe::ObservedPod;
use crate::pass::Desk;

fn desk() -> Arc<Desk> {
    let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
    });
    let client = Client::new(silent, "default");
    let (recorder, _writer) = events::recorder(client.clone(), "test", "host");
    Arc::new(Desk::new(client, recorder, Metrics::default(), 1))
}

async fn ask(desk: Arc<Desk>, method: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri("/debug/modelserving/cache")
        .body(Body::empty())
        .unwrap();
    let answer = router(desk).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn r103_the_dump_shows_groups_roles_and_pods() {
    let desk = desk();
    let object = serde_json::from_value(json!({
        "metadata": { "name": "s", "namespace": "ns", "uid": "u" },
        "spec": { "template": { "roles": [{ "name": "a", "workerReplicas": 0, "entryTemplate": {} }] } },
    }));
    desk.caches()
        .apply_serving(&Change::Applied(Arc::new(object.unwrap())));
    let pod: ObservedPod = serde_json::from_value(json!({
        "metadata": {
            "name": "s-0-a-0-0", "namespace": "ns", "uid": "p",
            "labels": {
                "modelserving.volcano.sh/name": "s", "modelserving.volcano.sh/group-name": "s-0",
                "modelserving.volcano.sh/role": "a", "modelserving.volcano.sh/role-id": "a-0",
                "modelserving.volcano.sh/revision": "4567", "modelserving.volcano.sh/role-template-hash": "89bc",
            },
            "ownerReferences": [{ "uid": "u", "controller": true }],
        },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    }))
    .unwrap();
    desk.caches().pods.apply(&Change::Applied(Arc::new(pod)));

    let (status, body) = ask(desk, "GET").await;

    assert_eq!(status, StatusCode::OK);
    let dump: Value = serde_json::from_str(&body).unwrap();
    let group = &dump["ns/s"]["s-0"];
    assert_eq!(group["name"], "s-0");
    assert_eq!(group["runningPods"], json!(["s-0-a-0-0"]));
    let role = json!({ "name": "a-0", "revision": "4567", "roleTemplateHash": "89bc", "status": "Running" });
    assert_eq!(group["roles"]["a"]["a-0"], role);
}

#[rstest]
#[case("POST")]
#[case("DELETE")]
#[tokio::test]
async fn r103_other_methods_are_refused(#[case] method: &str) {
    let answer = ask(desk(), method).await;
    assert_eq!(
        answer,
        (
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed\n".to_owned()
        )
    );
}

#[tokio::test]
async fn r103_head_is_answered_without_a_body() {
    assert_eq!(ask(desk(), "HEAD").await, (StatusCode::OK, String::new()));
}
