use kthena_cluster::watch::Named;
use kthena_controllers_model_serving::PodPhase;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ObservedDefinition, ObservedPod, ObservedPodGroup, ObservedService, ObservedSnapshot};

fn pod(status: &Value) -> ObservedPod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "s-0-a-0-0", "namespace": "ns", "uid": "u1",
            "labels": {
                "modelserving.volcano.sh/name": "s", "modelserving.volcano.sh/group-name": "s-0",
                "modelserving.volcano.sh/role": "a", "modelserving.volcano.sh/role-id": "a-0",
                "modelserving.volcano.sh/revision": "4567", "modelserving.volcano.sh/role-template-hash": "89bc",
                "app": "x",
            },
            "annotations": { "controller.kubernetes.io/pod-deletion-cost": "-7" },
            "ownerReferences": [
                { "uid": "other", "kind": "X" }, { "uid": "owner", "kind": "ModelServing", "controller": true },
            ],
            "managedFields": [{ "manager": "m" }],
        },
        "spec": { "containers": [{ "name": "c" }] },
        "status": status,
    }))
    .unwrap()
}

#[test]
fn a_pod_is_read_sparsely() {
    let pod = pod(&json!({
        "phase": "Running",
        "conditions": [{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": "True" }],
        "containerStatuses": [{ "restartCount": 2 }, { "restartCount": 1 }],
        "initContainerStatuses": [{ "restartCount": 4 }],
    }));

    assert_eq!(pod.key().to_string(), "ns/s-0-a-0-0");
    assert_eq!(pod.0.serving.to_string(), "ns/s");
    let view = &pod.0.view;
    assert_eq!(
        (view.owner.as_str(), view.deletion_cost, view.restarts),
        ("owner", -7, 7)
    );
    assert_eq!(
        (
            view.group.as_str(),
            view.role.as_str(),
            view.role_id.as_str()
        ),
        ("s-0", "a", "a-0")
    );
    assert_eq!(
        (view.revision.as_str(), view.role_hash.as_str()),
        ("4567", "89bc")
    );
    assert!(view.is_serving() && !view.is_terminating);
}

#[rstest]
#[case::no_status(Value::Null, PodPhase::Pending, false)]
#[case::nothing_known(json!({}), PodPhase::Pending, false)]
#[case::not_ready(
    json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] }), PodPhase::Running, false)]
#[case::failed(json!({ "phase": "Failed" }), PodPhase::Failed, false)]
#[case::succeeded(json!({ "phase": "Succeeded" }), PodPhase::Succeeded, false)]
#[case::unknown(json!({ "phase": "Unknown", "conditions": null }), PodPhase::Pending, false)]
fn phases_and_readiness(#[case] status: Value, #[case] phase: PodPhase, #[case] is_ready: bool) {
    let status = if status.is_null() { json!({}) } else { status };
    let view = pod(&status).0.view;
    assert_eq!((view.phase, view.is_ready), (phase, is_ready));
}

#[rstest]
#[case::published_form("my-llm-3", "my-llm-3-prefill-0-1", "my-llm-3")]
#[case::overwritten_by_a_template("group-0", "my-llm-3-prefill-0-1", "my-llm-3")]
#[case::neither_tells("group-0", "stranger", "group-0")]
#[case::of_another_serving("group-0", "other-3-prefill-0-1", "group-0")]
fn r3_r100_a_pod_whose_template_forged_its_group_is_known_by_its_name(
    #[case] label: &str,
    #[case] name: &str,
    #[case] expected: &str,
) {
    let pod: ObservedPod = serde_json::from_value(json!({ "metadata": { "name": name, "labels": {
        "modelserving.volcano.sh/name": "my-llm", "modelserving.volcano.sh/group-name": label,
        "modelserving.volcano.sh/role": "prefill", "modelserving.volcano.sh/role-id": "prefill-0",
    } } }))
    .unwrap();
    assert_eq!(pod.0.view.group, expected);
}

#[test]
fn r24_an_object_without_owners_belongs_to_nobody() {
    let service: ObservedService = serde_json::from_value(
        json!({ "metadata": { "name": "x", "namespace": "ns", "uid": "u" } }),
    )
    .unwrap();
    assert_eq!(service.0.view.owner, "");
}

#[rstest]
#[case::readable(json!({ "data": [{ "name": "a", "workerReplicas": 0, "entryTemplate": {} }] }), true)]
#[case::unreadable(json!({ "data": 3 }), false)]
fn r11_a_snapshot_that_cannot_be_read_is_no_reason_to_lose_the_watch(
    #[case] data: Value,
    #[case] readable: bool,
) {
    let snapshot: ObservedSnapshot = serde_json::from_value(json!({
        "metadata": {
            "name": "s-4567", "namespace": "ns", "uid": "u",
            "labels": { "modelserving.volcano.sh/name": "s", "modelserving.volcano.sh/revision": "4567" },
            "annotations": { "modelserving.volcano.sh/role-replicas": "{\"a\":3}" },
        },
        "revision": 1,
        "data": data,
    }))
    .unwrap();
    let view = &snapshot.0.view;
    assert_eq!(view.content.is_some(), readable);
    assert_eq!(view.role_replicas.get("a"), Some(&3));
    assert_eq!(view.revision, "4567");
}

#[rstest]
#[case::old(json!({ "minMember": {} }), false)]
#[case::new(json!({ "minMember": {}, "subGroupPolicy": { "type": "array" } }), true)]
fn r73_sub_groups_are_used_where_the_schema_has_them(
    #[case] members: Value,
    #[case] expected: bool,
) {
    let definition: ObservedDefinition = serde_json::from_value(json!({
        "metadata": { "name": "podgroups.scheduling.volcano.sh" },
        "spec": { "versions": [{ "name": "v1beta1", "schema": { "openAPIV3Schema": {
            "properties": { "metadata": { "type": "object" }, "spec": { "properties": members } } } } }] },
    }))
    .unwrap();
    assert_eq!(definition.support.has_sub_groups, expected);
}

#[rstest]
#[case::refused(
    "Inqueue",
    "True",
    "NotEnoughResources: 1/2 tasks in gang unschedulable"
)]
#[case::placed("Running", "True", "")]
#[case::taken_back("Pending", "False", "")]
fn a_gang_says_why_it_is_not_placed(
    #[case] phase: &str,
    #[case] status: &str,
    #[case] expected: &str,
) {
    let gang: ObservedPodGroup = serde_json::from_value(json!({
        "metadata": { "name": "s-0", "labels": { "modelserving.volcano.sh/group-name": "s-0" } },
        "spec": { "minMember": 2 },
        "status": { "phase": phase, "conditions": [{ "type": "Unschedulable", "status": status,
            "reason": "NotEnoughResources", "message": "1/2 tasks in gang unschedulable" }] },
    }))
    .unwrap();
    assert_eq!(gang.0.view.unplaced, expected);
    assert_eq!(
        (gang.0.view.group.as_str(), &gang.0.view.spec["minMember"]),
        ("s-0", &json!(2))
    );
}

#[rstest]
#[case::image(json!({ "containerStatuses": [{ "restartCount": 0, "state": { "waiting": { "reason": "ImagePullBackOff" } } }] }),
    "ImagePullBackOff")]
#[case::in_passing(json!({ "containerStatuses": [{ "restartCount": 0, "state": { "waiting": { "reason": "ContainerCreating" } } }] }),
    "")]
#[case::unplaced(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] }),
    "Unschedulable")]
fn a_pod_says_what_it_waits_for(#[case] status: Value, #[case] expected: &str) {
    let pod: ObservedPod =
        serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": status })).unwrap();
    assert_eq!(pod.0.view.waiting, expected);
}
