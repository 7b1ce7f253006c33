//! An agent that is killed again and again while pods come and go.

use std::collections::BTreeSet;

use kthena_node::supervisor::reap::ours;
use kthena_testkit::eventually;

use crate::adoption::Agent;
use crate::support::{PATIENCE, fixture_without_agent, restarts};

/// How often the agent is killed.
const KILLS: usize = 20;

#[tokio::test]
async fn twenty_times_kill_9_loses_no_pod_and_leaves_no_process() {
    let fixture = fixture_without_agent().await;
    let mut expected = BTreeSet::new();
    for round in 0..KILLS {
        let mut agent = Agent::start(&fixture).await;
        let name = format!("pod-{round}");
        fixture.script(&name, "exec sleep 1000").await;
        expected.insert(name);
        if let Some(victim) = (round % 3 == 2).then(|| expected.pop_first()).flatten() {
            fixture.delete(&victim, 1).await;
        }
        // Every round ends at another moment of the start of its pod.
        if round % 2 == 0 {
            let known = format!("pod-{}", round / 2);
            fixture.wait_or_gone(&known).await;
        }
        agent.kill();
    }
    let _agent = Agent::start(&fixture).await;

    for name in &expected {
        let pod = fixture.ready(name).await;
        assert_eq!(
            restarts(&pod, "main"),
            0,
            "{name} was adopted, not restarted"
        );
    }
    let dir = fixture.state.path().canonicalize().unwrap();
    eventually(
        "one process for each pod, and the supervisor",
        PATIENCE,
        || async { (ours(&dir).len() == expected.len() + 1).then_some(()) },
    )
    .await
    .unwrap();
}
