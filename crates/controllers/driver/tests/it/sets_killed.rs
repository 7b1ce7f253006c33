//! The controllers are killed after every single write that a `LeaderWorkerSet` costs in its life, one run per write.

use std::sync::Arc;

use kthena_controllers_leader_worker_set::LeaderWorkerSetStatus;
use kthena_testkit::eventually_ok;
use kube::Client;
use serde_json::json;

use crate::fixture::SOON;
use crate::killed::{self, Fragile, after_every_write, in_own_namespace};
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
    let end = eventually_ok("the same end as ever", SOON, || async {
        let status = sets.ready("s").await;
        let end = end(&sets, status).await;
        let is_settled =
            end.serving.snapshots.len() == 1 && end.serving.status["availableReplicas"] == 1;
        let is_wanted = wanted.as_ref().is_none_or(|wanted| **wanted == end);
        if is_settled && is_wanted {
            Ok(end)
        } else {
            Err(end)
        }
    })
    .await
    .expect("an end");
    let (was_killed, writes) = controllers.end().await;
    (end, was_killed, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_write_a_set_ends_the_same() {
    after_every_write(15, one).await;
}
