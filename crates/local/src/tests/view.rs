use k8s_openapi::api::core::v1::Pod;
use kthena_api::model_serving::ModelServing;
use kthena_controllers_driver::LeaderWorkerSet;
use rstest::rstest;
use serde_json::{Value, json};

use crate::frame;
use crate::progress::Progress;
use crate::view::{EngineLoad, View};

fn serving(available: i32) -> ModelServing {
    serde_json::from_value(json!({
        "metadata": {"name": "qwen", "namespace": "default", "generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, "availableReplicas": available, "updatedReplicas": 2},
    }))
    .unwrap()
}

fn pod(name: &str, group: &str, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "labels": {
            "modelserving.volcano.sh/name": "qwen", "modelserving.volcano.sh/group-name": group,
            "modelserving.volcano.sh/role-id": "server-0"}},
        "status": status,
    }))
    .unwrap()
}

fn ready() -> Value {
    json!({"phase": "Running", "podIP": "127.64.0.2", "conditions": [{"type": "Ready", "status": "True"}]})
}

#[test]
fn pods_stand_under_their_group_and_serving() {
    let pods = [
        pod("qwen-1-server-0-0", "qwen-1", &json!({})),
        pod("qwen-0-server-0-0", "qwen-0", &ready()),
    ];
    let mut view = View::of([&serving(1)], &pods);
    if let Some(first) = view.pods_mut().next() {
        first.load = Some(EngineLoad {
            running: 3.0,
            waiting: 1.0,
            kv_usage: 0.256,
        });
    }

    let text = frame::lines(&view, None).join("\n");

    insta::assert_snapshot!(text, @r"
    qwen  1/2 groups ready
      qwen-0  1/1 pods ready
        qwen-0-server-0-0  ready  Running           127.64.0.2       3 running, 1 waiting, KV cache 26 %
      qwen-1  0/1 pods ready
        qwen-1-server-0-0         Pending           -
    ");
}

#[test]
fn a_set_is_waited_for_until_a_model_serving_serves_it() {
    let set = |name: &str| -> LeaderWorkerSet {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": 2},
        }))
        .unwrap()
    };
    let mut view = View::of([&serving(2)], []);
    view.expect([&set("qwen")]);
    assert!(view.is_settled(), "it has the name of the ModelServing");

    view.expect([&set("llama")]);

    assert!(!view.is_settled());
    let text = frame::lines(&view, None).join("\n");
    assert!(text.contains("waiting for its ModelServing"), "{text}");
}

#[test]
fn lines_are_cut_to_the_terminal() {
    let view = View::of([&serving(1)], []);

    assert_eq!(frame::lines(&view, Some(8)), ["qwen  1/"]);
}

#[rstest]
#[case::not_yet(1, false)]
#[case::all_up(2, true)]
fn a_view_is_settled_when_all_groups_are_ready(#[case] available: i32, #[case] expected: bool) {
    assert_eq!(View::of([&serving(available)], []).is_settled(), expected);
}

#[test]
fn a_count_of_before_does_not_settle_pods_that_are_not_ready() {
    let up = pod("qwen-0-server-0-0", "qwen-0", &ready());
    let down = pod("qwen-1-server-0-0", "qwen-1", &json!({}));

    assert!(View::of([&serving(2)], [&up]).is_settled());
    assert!(!View::of([&serving(2)], [&up, &down]).is_settled());
}

#[test]
fn a_spec_that_was_not_looked_at_is_not_settled() {
    let mut stale = serving(2);
    stale.metadata.generation = Some(3);

    assert!(!View::of([&stale], []).is_settled());
}

#[rstest]
#[case::no_status(json!({}), "Pending")]
#[case::running(ready(), "Running")]
#[case::starting(json!({"phase": "Pending", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false,
    "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]}), "Pending")]
#[case::crashing(json!({"phase": "Running", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false,
    "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}), "CrashLoopBackOff")]
#[case::failed(json!({"phase": "Failed", "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false,
    "restartCount": 0, "state": {"terminated": {"exitCode": 3}}}]}), "ExitCode:3")]
#[case::no_room(json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
    "reason": "Unschedulable", "message": "0/1 nodes are available: insufficient cpu"}]}), "0/1 nodes are available: insufficient cpu")]
fn the_state_of_a_pod_is_its_most_telling_word(#[case] status: Value, #[case] expected: &str) {
    let view = View::of([&serving(0)], &[pod("p", "qwen-0", &status)]);

    assert_eq!(view.pods().next().unwrap().state, expected);
}

#[test]
fn each_change_is_told_once() {
    let mut progress = Progress::default();
    let before = View::of([&serving(1)], &[pod("p", "qwen-0", &json!({}))]);
    let after = View::of([&serving(1)], &[pod("p", "qwen-0", &ready())]);

    assert_eq!(
        progress.changes(&before),
        ["pod p: Pending", "qwen: 1 of 2 groups ready"]
    );
    assert_eq!(progress.changes(&before), Vec::<String>::new());
    assert_eq!(progress.changes(&after), ["pod p: ready at 127.64.0.2"]);
    assert_eq!(
        progress.changes(&View::default()),
        ["pod p: gone", "qwen: gone"]
    );
}
