//! The controllers are killed after every single write that a `LeaderWorkerSet` costs in its life, one run per write.

use std::sync::Arc;

use kthena_controllers_leader_worker_set::LeaderWorkerSetStatus;
use kube::Client;
use serde_json::json;

use crate::killed::{self, Fragile, after_every_write, in_own_namespace, same_end};
use crate::sets::{SetBench, set};

/// What is left at the end: the `ModelServing` with all it has, and the counts of the set.
#[derive(Debug, Clone, PartialEq)]
struct End {
    serving: killed::End,
    counts: [i32; 3],
    selector: String,
}

/// Creation, a rollout, scaling down.
async fn live_through(sets: &SetBench) {
    let mut object = set("s", 2, 2);
    sets.apply(&object).await;
    sets.ready("s").await;
    let template = &mut object["spec"]["leaderWorkerTemplate"]["workerTemplate"];
    template["spec"]["containers"][0]["image"] = json!("engine:2");
    sets.apply(&object).await;
    sets.ready("s").await;
    object["spec"]["replicas"] = json!(1);
    sets.apply(&object).await;
    sets.ready("s").await;
}

async fn end(sets: &SetBench, status: LeaderWorkerSetStatus) -> End {
    End {
        serving: killed::end(&sets.bench).await,
        counts: [
            status.replicas,
            status.ready_replicas,
            status.updated_replicas,
        ],
        selector: status.hpa_pod_selector,
    }
}

/// One run. Answers with the end, whether the controllers were killed, and how often they wrote.
async fn one(client: Client, allowed: usize, wanted: Option<Arc<End>>) -> (End, bool, usize) {
    let bench = in_own_namespace(client, format!("sets-killed-{allowed}")).await;
    let controllers = Fragile::start(&bench, allowed);
    let sets = SetBench { bench };
    live_through(&sets).await;
    let is_settled = |End { serving, .. }: &End| {
        serving.snapshots.len() == 1 && serving.status["availableReplicas"] == 1
    };
    let look = || async {
        let status = sets.ready("s").await;
        end(&sets, status).await
    };
    let end = same_end(wanted, is_settled, look).await;
    let (was_killed, writes) = controllers.end().await;
    (end, was_killed, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_write_a_set_ends_the_same() {
    after_every_write(15, one).await;
}
