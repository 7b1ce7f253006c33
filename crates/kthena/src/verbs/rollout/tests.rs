use kthena_api::model_serving::{ModelServing, Role};
use serde_json::{Value, json};

use super::{images, pausing, restored};

fn roles(value: Value) -> Vec<Role> {
    serde_json::from_value(value).unwrap()
}

#[test]
fn going_back_keeps_the_counts_of_today() {
    let today = roles(json!([{ "name": "a", "replicas": 5, "workerReplicas": 1, "partition": 2 }]));
    let older = roles(json!([
        { "name": "a", "replicas": 1, "workerReplicas": 0 }, { "name": "gone", "replicas": 3, "workerReplicas": 0 }]));
    let back = restored(&today, older);
    assert_eq!((back[0].replicas, back[0].worker_replicas), (Some(5), 0));
    assert!(back[0].partition.is_some());
    assert_eq!(
        back[1].replicas,
        Some(3),
        "a role that is not there today comes back as it was"
    );
}

#[test]
fn a_pause_names_the_type_and_resuming_takes_it_away() {
    let mut serving = ModelServing::default();
    assert_eq!(
        pausing(&serving, true)["spec"]["rolloutStrategy"],
        json!({ "type": "ServingGroupRollingUpdate", "paused": true })
    );
    serving.spec.rollout_strategy =
        serde_json::from_value(json!({ "type": "RoleRollingUpdate" })).unwrap();
    assert_eq!(
        pausing(&serving, false)["spec"]["rolloutStrategy"],
        json!({ "type": "RoleRollingUpdate", "paused": null })
    );
}

#[test]
fn each_image_is_told_once() {
    let template =
        |image: &str| json!({ "spec": { "containers": [{ "name": "c", "image": image }] } });
    let roles = roles(json!([
        { "name": "a", "workerReplicas": 1, "entryTemplate": template("x"), "workerTemplate": template("y") },
        { "name": "b", "workerReplicas": 0, "entryTemplate": template("x") }]));
    assert_eq!(images(&roles), ["x", "y"]);
}
