//! Startup, readiness and liveness probes against a small server.

use kthena_testkit::ControlPlane;
use serde_json::{Value, json};

use crate::support::{
    Fixture, condition, container, fixture, last_end, meeting_point, program, restarts, shell,
};

/// A container whose server answers 200 while `file` exists.
fn server(fixture: &Fixture, file: &str) -> Value {
    let script = format!(
        "exec {} serve $POD_IP:8000 {}",
        program(),
        meeting_point(fixture, file).display()
    );
    let mut container = shell("main", &script);
    container["env"] =
        json!([{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }]);
    container["ports"] = json!([{ "name": "http", "containerPort": 8000 }]);
    container
}

#[tokio::test]
async fn readiness_follows_an_http_probe_on_a_named_port() {
    let fixture = fixture().await;
    let mut container = server(&fixture, "healthy");
    container["readinessProbe"] = json!({ "httpGet": { "port": "http", "path": "/health" }, "periodSeconds": 1, "failureThreshold": 1 });
    fixture
        .pod("probed", json!({ "containers": [container] }))
        .await;
    fixture
        .event("probed", "Unhealthy", "Readiness probe failed")
        .await;

    std::fs::write(meeting_point(&fixture, "healthy"), "").unwrap();
    fixture.ready("probed").await;
    std::fs::remove_file(meeting_point(&fixture, "healthy")).unwrap();
    let pod = fixture
        .wait("probed", "the pod is not ready", |pod| {
            !condition(pod, "Ready")
        })
        .await;

    assert_eq!(restarts(&pod, "main"), 0);
}

#[tokio::test]
async fn two_pods_listen_on_the_same_port() {
    let fixture = fixture().await;
    std::fs::write(meeting_point(&fixture, "healthy"), "").unwrap();
    for name in ["one", "two"] {
        let mut container = server(&fixture, "healthy");
        container["readinessProbe"] = json!({ "tcpSocket": { "port": 8000 }, "periodSeconds": 1 });
        fixture
            .pod(name, json!({ "containers": [container] }))
            .await;
    }

    let one = fixture.ready("one").await;
    let two = fixture.ready("two").await;

    assert_ne!(one.status.unwrap().pod_ip, two.status.unwrap().pod_ip);
}

#[tokio::test]
async fn a_failing_liveness_probe_restarts_the_container() {
    let fixture = fixture().await;
    let mut container = shell("main", "touch alive; exec sleep 1000");
    container["livenessProbe"] = json!({ "exec": { "command": ["test", "-f", "dead"] }, "periodSeconds": 1, "failureThreshold": 1 });
    let spec = json!({ "terminationGracePeriodSeconds": 1, "containers": [container] });
    fixture.pod("sick", spec).await;

    let pod = fixture
        .wait("sick", "the container is restarted", |pod| {
            restarts(pod, "main") > 0
        })
        .await;

    assert_eq!(last_end(&pod, "main").exit_code, 143);
    fixture.event("sick", "Killing", "liveness probe").await;
}

#[tokio::test]
async fn a_startup_probe_holds_readiness_back() {
    let fixture = fixture().await;
    let mut container = server(&fixture, "started");
    container["startupProbe"] = json!({ "httpGet": { "port": 8000, "path": "/" }, "periodSeconds": 1, "failureThreshold": 100 });
    fixture
        .pod("slow", json!({ "containers": [container] }))
        .await;
    let running = |pod: &k8s_openapi::api::core::v1::Pod| {
        self::container(pod, "main").is_some_and(|main| {
            main.state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        })
    };
    let pod = fixture.wait("slow", "the container runs", running).await;
    assert_eq!(self::container(&pod, "main").unwrap().started, Some(false));

    std::fs::write(meeting_point(&fixture, "started"), "").unwrap();

    fixture.ready("slow").await;
}

#[tokio::test]
async fn a_grpc_probe_says_that_it_is_not_supported() {
    let fixture = fixture().await;
    let mut container = shell("main", "exec sleep 1000");
    container["readinessProbe"] = json!({ "grpc": { "port": 9000 } });
    fixture
        .pod("grpc", json!({ "containers": [container] }))
        .await;

    fixture
        .event("grpc", "Unhealthy", "gRPC probes are not supported")
        .await;
}

#[tokio::test]
async fn an_https_probe_accepts_any_certificate() {
    let fixture = fixture().await;
    let plane = ControlPlane::shared(&[]).await.unwrap();
    let port: u16 = plane.url().rsplit(':').next().unwrap().parse().unwrap();
    let mut container = shell("main", "exec sleep 1000");
    let get = json!({ "scheme": "HTTPS", "host": "127.0.0.1", "port": port, "path": "/healthz" });
    container["readinessProbe"] =
        json!({ "httpGet": get, "periodSeconds": 1, "timeoutSeconds": 5 });
    fixture
        .pod("secure", json!({ "containers": [container] }))
        .await;

    fixture.ready("secure").await;
}
