//! What survives the death of the agent and of the supervisor.

use std::process::{Child, Command, Stdio};

use kthena_node::supervisor::procfs;
use kthena_node::supervisor::reap::ours;
use kthena_testkit::{ControlPlane, eventually};

use crate::support::{
    Fixture, PATIENCE, container, fixture, fixture_without_agent, program, restarts,
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
    let last = container(&pod, "main")
        .unwrap()
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
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

    let supervisor = ours(&dir)
        .into_iter()
        .find(|stat| procfs::env(stat.pid, "KTHENA_CONTAINER_ID").is_none());
    let pid = rustix::process::Pid::from_raw(supervisor.unwrap().pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();

    let pod = fixture
        .wait("bereft", "it is restarted", |pod| {
            restarts(pod, "main") == 1
        })
        .await;
    let last = container(&pod, "main")
        .unwrap()
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
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
