use std::sync::Arc;

use kthena_api::model_serving::ModelServing;
use kthena_cluster::{Change, ObjectKey};
use serde_json::json;

use super::Caches;
use crate::observe::ObservedPod;

fn pod(name: &str, serving: &str, phase: &str) -> Arc<ObservedPod> {
    let pod = serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": format!("uid-of-{name}"),
            "labels": { "modelserving.volcano.sh/name": serving },
        },
        "status": { "phase": phase },
    }));
    Arc::new(pod.unwrap())
}

fn serving(generation: i64, status_replicas: i32) -> Arc<ModelServing> {
    let object = serde_json::from_value(json!({
        "metadata": { "name": "s", "namespace": "ns", "uid": "u", "generation": generation },
        "status": { "replicas": status_replicas },
    }));
    Arc::new(object.unwrap())
}

fn names(keys: &[ObjectKey]) -> Vec<&str> {
    keys.iter().map(|key| key.name.as_str()).collect()
}

#[test]
fn r29_a_pod_only_names_its_serving_once_per_visible_change() {
    let mut caches = Caches::default();
    let mut apply = |pod| names(&caches.pods.apply(&Change::Applied(pod))).join(",");

    assert_eq!(apply(pod("p", "s", "Pending")), "s");
    assert_eq!(
        apply(pod("p", "s", "Pending")),
        "",
        "nothing the planner could see has changed"
    );
    assert_eq!(apply(pod("p", "s", "Running")), "s");
    assert_eq!(
        apply(pod("p", "t", "Running")),
        "s,t",
        "its label was changed"
    );
}

#[test]
fn a_deleted_pod_wakes_its_serving_and_is_forgotten() {
    let mut caches = Caches::default();
    caches.apply_serving(&Change::Applied(serving(1, 0)));
    caches
        .pods
        .apply(&Change::Applied(pod("p", "s", "Running")));
    let key = ObjectKey::new("ns", "s");
    assert_eq!(caches.view(&key).unwrap().pods.len(), 1);

    let woken = caches
        .pods
        .apply(&Change::Deleted(pod("p", "s", "Running")));

    assert_eq!(names(&woken), ["s"]);
    assert!(caches.view(&key).unwrap().pods.is_empty());
    assert!(
        caches
            .pods
            .apply(&Change::Deleted(pod("p", "s", "Running")))
            .is_empty()
    );
}

#[test]
fn a_serving_is_looked_at_when_what_it_asks_for_changed() {
    let mut caches = Caches::default();
    let mut apply = |object| caches.apply_serving(&Change::Applied(object)).is_some();

    assert!(apply(serving(1, 0)));
    assert!(!apply(serving(1, 3)), "a status is our own work");
    assert!(apply(serving(2, 3)));
    let mut queued = (*serving(2, 3)).clone();
    let queue = (kthena_api::labels::QUEUE_NAME.to_owned(), "gold".to_owned());
    queued.metadata.annotations = Some([queue].into());
    assert!(apply(Arc::new(queued)));
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_last_good_form() {
    let mut caches = Caches::default();
    let key = ObjectKey::new("ns", "s");
    caches.apply_serving(&Change::Applied(serving(1, 0)));
    caches.apply_serving(&Change::Undecodable {
        key: key.clone(),
        fault: "bad".to_owned(),
    });
    assert!(caches.view(&key).is_some());
}
