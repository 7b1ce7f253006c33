//! The controllers are killed after every single write that a `LeaderWorkerSet` costs in its life, one run per write.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_controllers_leader_worker_set::LeaderWorkerSetStatus;
use kthena_testkit::{eventually_ok, objects};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{Bench, SOON};
use crate::killed::{self, Fragile, PARALLEL};
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
    let bench = Bench {
        client: client.clone(),
        namespace: format!("sets-killed-{allowed}"),
    };
    let namespace: Namespace =
        serde_json::from_value(objects::namespace(&bench.namespace)).expect("a namespace");
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("created");
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
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
        .await
        .expect("a server");
    let kubelet = tokio::spawn(killed::kubelet(server.client()));
    let (wanted, was_killed, writes) = one(server.client(), usize::MAX, None).await;
    assert!(!was_killed && writes > 15, "{writes} writes");
    let wanted = Arc::new(wanted);

    let mut running = JoinSet::new();
    let mut kills = 0;
    for allowed in 1..=writes {
        if running.len() >= PARALLEL {
            let (_, was_killed, _) = running.join_next().await.expect("a run").expect("no panic");
            kills += usize::from(was_killed);
        }
        running.spawn(one(server.client(), allowed, Some(Arc::clone(&wanted))));
    }
    while let Some(run) = running.join_next().await {
        kills += usize::from(run.expect("no panic").1);
    }
    // How statuses are joined depends on timing, so the last few runs may need fewer writes than the first did.
    assert!(kills + 8 >= writes, "{kills} of {writes}");
    kubelet.abort();
    server.shutdown().await;
}
