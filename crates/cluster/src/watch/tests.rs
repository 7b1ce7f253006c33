use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

use super::backoff::Backoff;
use super::{Change, Scope, watch};

/// A server that answers from a script: list or watch, status, body.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn then(self, status: u16, body: impl Into<String>) -> Self {
        self.answers
            .lock()
            .unwrap()
            .push_back((status, body.into()));
        self
    }

    fn list(self, version: &str, items: &[Value]) -> Self {
        self.then(
            200,
            json!({ "metadata": { "resourceVersion": version }, "items": items }).to_string(),
        )
    }

    fn lines(self, lines: &[Value]) -> Self {
        let mut body = String::new();
        for line in lines {
            body.push_str(&line.to_string());
            body.push('\n');
        }
        self.then(200, body)
    }

    fn client(&self) -> Client {
        let script = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let script = script.clone();
            async move {
                script.asked.lock().unwrap().push(request.uri().to_string());
                let answer = script.answers.lock().unwrap().pop_front();
                let Some((status, body)) = answer else {
                    // The script is over: the server is silent.
                    return std::future::pending().await;
                };
                let status = StatusCode::from_u16(status).unwrap();
                Ok::<_, std::convert::Infallible>(
                    Response::builder()
                        .status(status)
                        .body(Body::from(body.into_bytes()))
                        .unwrap(),
                )
            }
        });
        Client::new(service, "default")
    }
}

fn config_map(name: &str, uid: &str, version: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "ns", "uid": uid, "resourceVersion": version,
        "managedFields": [{ "manager": "somebody" }] } })
}

fn event(kind: &str, object: &Value) -> Value {
    json!({ "type": kind, "object": object })
}

fn gone() -> String {
    json!({ "kind": "Status", "status": "Failure", "message": "too old", "reason": "Expired", "code": 410 })
        .to_string()
}

fn told(change: &Change<ConfigMap>) -> String {
    let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
    match change {
        Change::Applied(object) => format!("+{}", name(object)),
        Change::Deleted(object) => format!("-{}", name(object)),
        Change::Synced => "synced".to_owned(),
        Change::Absent => "absent".to_owned(),
        Change::Undecodable { key, .. } => format!("?{key}"),
    }
}

async fn all(stream: impl Stream<Item = Change<ConfigMap>>) -> String {
    let mut stream = std::pin::pin!(stream);
    let mut told_so_far = Vec::new();
    while let Ok(Some(change)) = tokio::time::timeout(Duration::from_mins(2), stream.next()).await {
        told_so_far.push(told(&change));
    }
    told_so_far.join(" ")
}

#[tokio::test(start_paused = true)]
async fn lists_then_follows() {
    let script = Script::default()
        .list("5", &[config_map("a", "1", "3")])
        .lines(&[
            event("ADDED", &config_map("b", "2", "6")),
            event("MODIFIED", &config_map("a", "1", "7")),
            event(
                "BOOKMARK",
                &json!({ "metadata": { "resourceVersion": "9" } }),
            ),
            event("DELETED", &config_map("b", "2", "10")),
        ]);

    let told = all(watch::<ConfigMap>(script.client(), &Scope::labelled("x=y"))).await;

    assert_eq!(told, "+a synced +b +a -b");
    let asked = script.asked.lock().unwrap().clone();
    assert!(
        asked[0].contains("labelSelector=x%3Dy") && asked[0].contains("limit=500"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains("resourceVersion=5") && asked[1].contains("allowWatchBookmarks=true")
    );
    assert!(
        asked[2].contains("resourceVersion=10"),
        "goes on where the connection ended: {asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_too_old_means_a_new_list_and_what_vanished_is_deleted() {
    let script = Script::default()
        .list(
            "5",
            &[
                config_map("a", "1", "3"),
                config_map("b", "2", "4"),
                config_map("c", "3", "4"),
            ],
        )
        .then(410, gone())
        .list(
            "20",
            &[config_map("a", "1", "3"), config_map("c", "9", "15")],
        );

    let told = all(watch::<ConfigMap>(script.client(), &Scope::default())).await;

    assert_eq!(
        told, "+a +b +c synced -c +c -b synced",
        "a did not change and is not repeated"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_line_of_410_means_a_new_list() {
    let expired =
        json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "message": "old" } });
    let script = Script::default()
        .list("5", &[config_map("a", "1", "3")])
        .lines(&[expired])
        .list("9", &[]);

    assert_eq!(
        all(watch::<ConfigMap>(script.client(), &Scope::default())).await,
        "+a synced -a synced"
    );
}

#[tokio::test(start_paused = true)]
async fn one_object_that_cannot_be_read_hides_no_other() {
    let mut bad = config_map("bad", "2", "4");
    bad["data"] = json!({ "count": 3 });
    let script = Script::default()
        .list(
            "5",
            &[
                config_map("a", "1", "3"),
                bad.clone(),
                config_map("c", "3", "4"),
            ],
        )
        .lines(&[
            event("MODIFIED", &bad),
            event("MODIFIED", &config_map("bad", "2", "8")),
        ]);

    let told = all(watch::<ConfigMap>(script.client(), &Scope::default())).await;

    assert_eq!(told, "+a ?ns/bad +c synced +bad");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_empty_until_it_is() {
    let missing =
        json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 })
            .to_string();
    let script = Script::default()
        .then(404, missing.clone())
        .then(404, missing)
        .list("5", &[config_map("a", "1", "3")]);

    assert_eq!(
        all(watch::<ConfigMap>(script.client(), &Scope::default())).await,
        "absent synced +a synced"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_are_joined_and_managed_fields_dropped() {
    let first = json!({ "metadata": { "resourceVersion": "5", "continue": "more" },
        "items": [config_map("a", "1", "3")] });
    let script = Script::default()
        .then(200, first.to_string())
        .list("5", &[config_map("b", "2", "4")]);
    let mut stream = std::pin::pin!(watch::<ConfigMap>(script.client(), &Scope::default()));

    let Some(Change::Applied(object)) = stream.next().await else {
        panic!("an object")
    };
    assert_eq!(object.metadata.managed_fields, None);
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(told(&stream.next().await.unwrap()));
    }

    assert_eq!(names, ["+b", "synced"]);
    assert!(script.asked.lock().unwrap()[1].contains("continue=more"));
}

#[rstest]
#[case::server_error(500)]
#[case::forbidden(403)]
#[case::overloaded(503)]
#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_for_ever(#[case] status: u16) {
    let failure = json!({ "kind": "Status", "status": "Failure", "code": status }).to_string();
    let mut script = Script::default();
    for _ in 0..8 {
        script = script.then(status, failure.clone());
    }
    let script = script.list("5", &[]);

    let mut stream = std::pin::pin!(watch::<Pod>(script.client(), &Scope::default()));

    assert_eq!(stream.next().await, Some(Change::Synced));
}

#[test]
fn backoff_grows_to_its_cap_and_starts_over() {
    let mut backoff = Backoff::default();
    let full: Vec<_> = (0..10).map(|_| backoff.next(1.0).as_millis()).collect();
    assert_eq!(
        full,
        [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]
    );

    backoff.reset();
    assert_eq!(backoff.next(0.0), Duration::from_millis(100));
}
