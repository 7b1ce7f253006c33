//! Starts, ends, restarts and the order of containers.

use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::json;

use crate::support::{
    Server, condition, container, fixture, fixture_on, last_end, phase, restarts, shell, waiting,
};

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_pod_runs_has_an_address_and_writes_a_log(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    fixture
        .script("hello", "echo hello from $HOSTNAME; exec sleep 1000")
        .await;

    let pod = fixture.ready("hello").await;

    let status = pod.status.as_ref().unwrap();
    assert_eq!(phase(&pod), "Running");
    assert!(status.pod_ip.as_deref().unwrap().starts_with("127."));
    assert_ne!(status.pod_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(
        status.pod_ips.as_ref().unwrap()[0].ip,
        *status.pod_ip.as_ref().unwrap()
    );
    assert!(status.start_time.is_some());
    let main = container(&pod, "main").unwrap();
    assert!(
        main.container_id
            .as_deref()
            .unwrap()
            .starts_with("kthena://")
    );
    assert_eq!((main.started, main.restart_count), (Some(true), 0));
    assert_eq!(fixture.logged("hello", "hello").await, "hello from hello\n");
    fixture
        .event("hello", "Started", "native program \"sh\"")
        .await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_crashing_container_is_restarted_with_back_off(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    fixture.script("crash", "exit 3").await;

    let backing_off =
        |pod: &Pod| restarts(pod, "main") >= 2 && waiting(pod, "main") == Some("CrashLoopBackOff");
    let pod = fixture
        .wait("crash", "the container backs off", backing_off)
        .await;

    let last = last_end(&pod, "main");
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert_eq!(phase(&pod), "Running");
    assert!(!condition(&pod, "Ready"));
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn init_containers_run_in_order_before_the_others(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    let volume = json!([{ "name": "shared", "emptyDir": {} }]);
    let mount = json!([{ "name": "shared", "mountPath": "/shared" }]);
    let with_mount = |name: &str, script: &str| {
        let mut container = shell(name, script);
        container["volumeMounts"] = mount.clone();
        container
    };
    fixture
        .pod(
            "ordered",
            json!({
                "restartPolicy": "Never",
                "volumes": volume,
                "initContainers": [
                    with_mount("first", "echo first >> /shared/order"),
                    with_mount("second", "echo second >> /shared/order"),
                ],
                "containers": [with_mount("main", "echo main >> /shared/order; cat /shared/order")],
            }),
        )
        .await;

    let pod = fixture
        .wait("ordered", "the pod has succeeded", |pod| {
            phase(pod) == "Succeeded"
        })
        .await;

    assert_eq!(
        fixture.log("ordered", "main").await,
        "first\nsecond\nmain\n"
    );
    let ended = container(&pod, "main")
        .unwrap()
        .state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref()),
        (0, Some("Completed"))
    );
}

#[tokio::test]
async fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let fixture = fixture().await;
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [shell("setup", "exit 7")],
        "containers": [shell("main", "exec sleep 1000")],
    });
    fixture.pod("doomed", spec).await;

    let pod = fixture
        .wait("doomed", "the pod has failed", |pod| phase(pod) == "Failed")
        .await;

    assert_eq!(waiting(&pod, "main"), Some("PodInitializing"));
}

#[tokio::test]
async fn a_sidecar_starts_first_and_ends_last() {
    let fixture = fixture().await;
    let mut sidecar = shell("sidecar", "exec sleep 1000");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [sidecar],
        "containers": [shell("main", "exit 0")],
    });
    fixture.pod("with-sidecar", spec).await;

    let pod = fixture
        .wait("with-sidecar", "the pod has succeeded", |pod| {
            phase(pod) == "Succeeded"
        })
        .await;

    let sidecar = container(&pod, "sidecar").unwrap().state.as_ref().unwrap();
    assert!(sidecar.terminated.is_some());
}

#[tokio::test]
async fn a_missing_program_is_named_with_a_remedy() {
    let fixture = fixture().await;
    let containers =
        json!([{ "name": "main", "image": "acme/tool", "command": ["no-such-program"] }]);
    fixture
        .pod("missing", json!({ "containers": containers }))
        .await;

    fixture
        .wait("missing", "the pod waits", |pod| {
            waiting(pod, "main") == Some("ErrImagePull")
        })
        .await;

    let message = fixture.event("missing", "Failed", "no-such-program").await;
    assert!(message.contains("kthena.volcano.sh/stand-in"), "{message}");
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_readiness_gate_holds_the_pod_back(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    let spec = json!({
        "readinessGates": [{ "conditionType": "example.com/open" }],
        "containers": [shell("main", "exec sleep 1000")],
    });
    fixture.pod("gated", spec).await;
    let pod = fixture
        .wait("gated", "containers are ready", |pod| {
            condition(pod, "ContainersReady")
        })
        .await;
    assert!(!condition(&pod, "Ready"));

    let open =
        json!({ "status": { "conditions": [{ "type": "example.com/open", "status": "True" }] } });
    let params = kube::api::PatchParams::default();
    fixture
        .pods()
        .patch_status("gated", &params, &kube::api::Patch::Strategic(open))
        .await
        .unwrap();

    fixture.ready("gated").await;
}
