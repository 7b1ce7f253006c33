//! What survives the death of the agent and of the supervisor.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::Pod;
use kthena_node::Node;
use kthena_node::supervisor::procfs;
use kthena_node::supervisor::reap::ours;
use kthena_testkit::{ControlPlane, eventually};
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::json;

use crate::support::{
    Fixture, PATIENCE, Server, container, fixture, fixture_on, fixture_without_agent, last_end,
    phase, program, restarts,
};

/// An agent in a process of its own; killed with the test.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) async fn start(fixture: &Fixture) -> Self {
        let plane = ControlPlane::shared(&[]).await.unwrap();
        let child = Command::new(program())
            .arg("run")
            .arg(plane.kubeconfig())
            .arg(fixture.state.path())
            .arg(&fixture.node)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn processes_survive_kill_9_of_the_agent_and_are_adopted() {
    let fixture = fixture_without_agent().await;
    let mut agent = Agent::start(&fixture).await;
    fixture
        .script("survivor", "echo pid $$; exec sleep 1000")
        .await;
    let before = fixture.ready("survivor").await;

    agent.kill();
    let running = ours(&fixture.state.path().canonicalize().unwrap()).len();
    drop(agent);
    let mut agent = Agent::start(&fixture).await;
    fixture.script("newcomer", "exec sleep 1000").await;
    fixture.ready("newcomer").await;

    assert_eq!(running, 2, "supervisor and container");
    let after = fixture.get("survivor").await.unwrap();
    assert_eq!(
        container(&before, "main").unwrap(),
        container(&after, "main").unwrap()
    );
    fixture.delete("survivor", 1).await;
    fixture.gone("survivor").await;
    agent.kill();
}

#[tokio::test]
async fn an_exit_code_is_kept_while_no_agent_is_there() {
    let fixture = fixture_without_agent().await;
    let mut agent = Agent::start(&fixture).await;
    let stop = fixture.state.path().join("stop");
    let script = format!(
        "echo up; while [ ! -f {} ]; do sleep 0.05; done; exit 42",
        stop.display()
    );
    fixture.script("quitter", &script).await;
    fixture.logged("quitter", "up").await;
    fixture.ready("quitter").await;

    agent.kill();
    std::fs::write(&stop, "").unwrap();
    let dir = fixture.state.path().canonicalize().unwrap();
    eventually("it has ended", PATIENCE, || async {
        (ours(&dir).len() == 1).then_some(())
    })
    .await
    .unwrap();
    let _agent = Agent::start(&fixture).await;

    let pod = fixture
        .wait("quitter", "it is restarted", |pod| {
            restarts(pod, "main") > 0
        })
        .await;
    let last = last_end(&pod, "main");
    assert_eq!(last.exit_code, 42);
}

#[tokio::test]
async fn a_pod_deleted_while_no_agent_is_there_is_reaped() {
    let fixture = fixture_without_agent().await;
    let mut agent = Agent::start(&fixture).await;
    fixture.script("orphan", "exec sleep 1000").await;
    fixture.ready("orphan").await;

    agent.kill();
    fixture.delete("orphan", 0).await;
    fixture.gone("orphan").await;
    let _agent = Agent::start(&fixture).await;

    let dir = fixture.state.path().canonicalize().unwrap();
    eventually("only the supervisor is left", PATIENCE, || async {
        (ours(&dir).len() == 1).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn containers_die_with_their_supervisor_and_are_restarted() {
    let fixture = fixture().await;
    fixture.script("bereft", "exec sleep 1000").await;
    let before = fixture.ready("bereft").await;
    let dir = fixture.state.path().canonicalize().unwrap();

    kill_supervisor(&dir);

    let pod = fixture
        .wait("bereft", "it is restarted", |pod| {
            restarts(pod, "main") == 1
        })
        .await;
    let last = last_end(&pod, "main");
    assert_eq!(
        (last.exit_code, last.reason.as_deref()),
        (137, Some("ContainerStatusUnknown"))
    );
    assert_ne!(
        container(&before, "main").unwrap().container_id,
        container(&fixture.ready("bereft").await, "main")
            .unwrap()
            .container_id
    );
}

#[tokio::test]
async fn a_second_agent_on_the_same_folder_is_refused() {
    let fixture = fixture().await;

    let second = kthena_node::Node::start(fixture.client.clone(), fixture.config.clone()).await;

    assert!(matches!(second, Err(kthena_node::NodeError::Locked { .. })));
}

/// Status and reason of a condition.
fn verdict<'p>(pod: &'p Pod, kind: &str) -> (&'p str, &'p str) {
    let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .unwrap();
    (&found.status, found.reason.as_deref().unwrap_or_default())
}

/// Ends the supervisor and all its containers at once.
fn kill_supervisor(dir: &Path) {
    let supervisor = ours(dir)
        .into_iter()
        .find(|stat| procfs::env(stat.pid, "KTHENA_CONTAINER_ID").is_none());
    let pid = rustix::process::Pid::from_raw(supervisor.unwrap().pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_shutdown_is_shown_before_run_returns(#[case] server: Server) {
    let mut fixture = fixture_on(server, |config| config.claim_unassigned = true).await;
    // Deaf to SIGTERM: killed, and shown, within the limit all the same.
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    fixture.script("deaf", deaf).await;
    fixture.script("polite", "exec sleep 1000").await;
    fixture.ready("deaf").await;
    fixture.ready("polite").await;

    fixture.stop().await;

    for name in ["deaf", "polite"] {
        let pod = fixture.get(name).await.unwrap();
        assert_eq!(verdict(&pod, "Ready"), ("False", "NodeShutdown"), "{name}");
        assert_eq!(
            verdict(&pod, "ContainersReady"),
            ("False", "NodeShutdown"),
            "{name}"
        );
        let main = container(&pod, "main").unwrap();
        assert!(!main.ready, "{main:?}");
        let state = main.state.as_ref().unwrap();
        assert!(state.terminated.is_some(), "{main:?}");
        assert_eq!(phase(&pod), "Running");
    }
    assert_eq!(ours(&fixture.state.path().canonicalize().unwrap()).len(), 0);
    fixture.start().await;
    let again = fixture.ready("polite").await;
    assert_eq!(restarts(&again, "main"), 0, "{:?}", again.status);
}

#[rstest]
#[case::the_only_node(true, 0)]
#[case::one_of_several(false, 1)]
#[tokio::test]
async fn a_shutdown_is_a_restart_for_nodes_that_have_peers(
    #[case] alone: bool,
    #[case] count: i32,
) {
    let mut fixture = fixture_on(Server::InProcess, |config| config.claim_unassigned = alone).await;
    fixture.script("again", "exec sleep 1000").await;
    fixture.ready("again").await;

    fixture.stop().await;
    fixture.start().await;

    let pod = fixture.ready("again").await;
    assert_eq!(restarts(&pod, "main"), count);
    assert!(container(&pod, "main").unwrap().last_state.is_some());
}

#[tokio::test]
async fn an_agent_and_supervisor_killed_at_once_are_known_before_a_start_returns() {
    let fixture = fixture_without_agent().await;
    let mut agent = Agent::start(&fixture).await;
    fixture.script("victim", "exec sleep 1000").await;
    fixture.ready("victim").await;
    agent.kill();
    kill_supervisor(&fixture.state.path().canonicalize().unwrap());
    assert_eq!(
        verdict(&fixture.get("victim").await.unwrap(), "Ready").0,
        "True"
    );

    let _node = Node::start(fixture.client.clone(), fixture.config.clone())
        .await
        .unwrap();

    let pod = fixture.get("victim").await.unwrap();
    assert_eq!(verdict(&pod, "Ready"), ("False", "NodeRestarted"));
    assert_eq!(verdict(&pod, "ContainersReady"), ("False", "NodeRestarted"));
    assert!(!container(&pod, "main").unwrap().ready);
}

#[tokio::test]
async fn a_start_leaves_the_readiness_of_adopted_pods_alone() {
    let fixture = fixture_without_agent().await;
    let mut agent = Agent::start(&fixture).await;
    fixture.script("survivor", "exec sleep 1000").await;
    let before = fixture.ready("survivor").await;
    agent.kill();

    let _node = Node::start(fixture.client.clone(), fixture.config.clone())
        .await
        .unwrap();

    let after = fixture.get("survivor").await.unwrap();
    assert_eq!(
        before.metadata.resource_version,
        after.metadata.resource_version
    );
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_pod_shown_ready_that_the_node_knows_nothing_of_is_corrected(#[case] server: Server) {
    let mut fixture = fixture_on(server, |_| {}).await;
    fixture.script("unknown", "exec sleep 1000").await;
    fixture.ready("unknown").await;
    fixture.stop().await;
    let ready = json!({ "status": { "conditions": [
        { "type": "Ready", "status": "True" },
        { "type": "ContainersReady", "status": "True" },
    ] } });
    fixture
        .pods()
        .patch_status("unknown", &PatchParams::default(), &Patch::Strategic(ready))
        .await
        .unwrap();
    std::fs::remove_dir_all(fixture.state.path().join("pods")).unwrap();

    let _node = Node::start(fixture.client.clone(), fixture.config.clone())
        .await
        .unwrap();

    let pod = fixture.get("unknown").await.unwrap();
    assert_eq!(
        verdict(&pod, "Ready"),
        ("False", "ContainersNotReady"),
        "{:?}",
        pod.status
    );
}
