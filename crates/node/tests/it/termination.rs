//! How pods end: hooks, grace, SIGKILL, finalizers, and nothing left behind.

use std::time::Duration;

use kthena_node::supervisor::reap::ours;
use kthena_testkit::eventually;
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::json;

use crate::support::{
    Fixture, PATIENCE, Server, container, fixture, fixture_on, meeting_point, phase, restarts,
    shell,
};

/// Processes of the fixture's containers that still run, the supervisor apart.
fn left(fixture: &Fixture) -> usize {
    ours(&fixture.state.path().canonicalize().unwrap())
        .len()
        .saturating_sub(1)
}

async fn nothing_is_left(fixture: &Fixture) {
    eventually("no process is left", PATIENCE, || async {
        (left(fixture) == 0).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn sigterm_lets_a_container_end_in_its_own_way() {
    let fixture = fixture().await;
    let file = meeting_point(&fixture, "bye");
    let script = format!(
        "trap 'echo bye > {}; exit 0' TERM; echo up; while :; do sleep 0.1; done",
        file.display()
    );
    fixture.script("polite", &script).await;
    fixture.logged("polite", "up").await;

    fixture.delete("polite", 30).await;

    fixture.gone("polite").await;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "bye\n");
    nothing_is_left(&fixture).await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_stubborn_container_and_its_detached_children_are_killed(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    // One child stays in the group, one leaves the session and its parent.
    let script = "trap '' TERM; sleep 1001 & (setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &) ; echo up; \
                  while :; do sleep 1; done";
    fixture.script("stubborn", script).await;
    fixture.logged("stubborn", "up").await;
    assert!(left(&fixture) >= 3);

    fixture.delete("stubborn", 1).await;

    fixture.gone("stubborn").await;
    nothing_is_left(&fixture).await;
}

#[tokio::test]
async fn what_a_container_leaves_behind_goes_with_it() {
    let fixture = fixture().await;
    fixture
        .script("litter", "sleep 1000 & setsid sleep 1000 & exit 0")
        .await;

    fixture
        .wait("litter", "it has ended twice", |pod| {
            restarts(pod, "main") >= 2
        })
        .await;
    fixture.delete("litter", 1).await;

    fixture.gone("litter").await;
    nothing_is_left(&fixture).await;
}

#[tokio::test]
async fn a_pre_stop_hook_runs_before_sigterm() {
    let fixture = fixture().await;
    let file = meeting_point(&fixture, "order");
    let script = format!(
        "trap 'echo term >> {0}; exit 0' TERM; echo up; while :; do sleep 0.1; done",
        file.display()
    );
    let mut container = shell("main", &script);
    let hook = format!("echo hook of $HOSTNAME >> {}", file.display());
    container["lifecycle"] = json!({ "preStop": { "exec": { "command": ["sh", "-c", hook] } } });
    fixture
        .pod("hooked", json!({ "containers": [container] }))
        .await;
    fixture.logged("hooked", "up").await;

    fixture.delete("hooked", 30).await;

    fixture.gone("hooked").await;
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "hook of hooked\nterm\n"
    );
}

#[tokio::test]
async fn a_failed_post_start_hook_restarts_the_container() {
    let fixture = fixture().await;
    let mut container = shell("main", "exec sleep 1000");
    container["lifecycle"] = json!({ "postStart": { "exec": { "command": ["false"] } } });
    let spec = json!({ "terminationGracePeriodSeconds": 1, "containers": [container] });
    fixture.pod("post-start", spec).await;

    fixture
        .wait("post-start", "it is restarted", |pod| {
            restarts(pod, "main") > 0
        })
        .await;

    fixture
        .event("post-start", "FailedPostStartHook", "main")
        .await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_finalizer_holds_the_object_but_not_the_process(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    fixture.script("held", "exec sleep 1000").await;
    fixture.ready("held").await;
    let finalizers =
        |list: serde_json::Value| Patch::Merge(json!({ "metadata": { "finalizers": list } }));
    let params = PatchParams::default();
    fixture
        .pods()
        .patch("held", &params, &finalizers(json!(["example.com/hold"])))
        .await
        .unwrap();

    fixture.delete("held", 1).await;
    nothing_is_left(&fixture).await;
    let ended = |pod: &k8s_openapi::api::core::v1::Pod| {
        container(pod, "main").is_some_and(|main| {
            main.state
                .as_ref()
                .is_some_and(|state| state.terminated.is_some())
        })
    };
    let pod = fixture
        .wait("held", "its last status is shown", ended)
        .await;
    assert_eq!(phase(&pod), "Failed");

    fixture
        .pods()
        .patch("held", &params, &finalizers(json!([])))
        .await
        .unwrap();
    fixture.gone("held").await;
}

#[tokio::test]
async fn an_active_deadline_ends_the_pod() {
    let fixture = fixture().await;
    let spec = json!({
        "activeDeadlineSeconds": 1,
        "terminationGracePeriodSeconds": 1,
        "containers": [shell("main", "exec sleep 1000")],
    });
    fixture.pod("limited", spec).await;

    let pod = fixture
        .wait("limited", "the pod has failed", |pod| {
            phase(pod) == "Failed"
        })
        .await;

    assert_eq!(
        pod.status.unwrap().reason.as_deref(),
        Some("DeadlineExceeded")
    );
    nothing_is_left(&fixture).await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_shutdown_stops_the_pods_and_the_next_start_runs_them_again(#[case] server: Server) {
    let mut fixture = fixture_on(server, |_| {}).await;
    fixture.script("again", "echo run; exec sleep 1000").await;
    let before = fixture.ready("again").await;

    tokio::time::timeout(Duration::from_secs(30), fixture.stop())
        .await
        .unwrap();
    assert_eq!(ours(&fixture.state.path().canonicalize().unwrap()), vec![]);
    fixture.start().await;

    let after = fixture
        .wait("again", "it runs again", |pod| restarts(pod, "main") == 1)
        .await;
    assert_eq!(before.status.unwrap().pod_ip, after.status.unwrap().pod_ip);
}
