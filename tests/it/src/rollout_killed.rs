//! A rollout of many models whose manager is killed again and again: nobody who watches the pods notices.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kthena_testkit::eventually_ok;
use kthena_testkit::ledger::{Ledger, Promise};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::Cluster;

/// The machine may be busy: ten rollouts of three groups with a dozen starts of the manager.
const PATIENCE: Duration = Duration::from_mins(5);
const MODELS: usize = 10;
/// The manager lives for as many new pods, less than one tenth of all.
const LIFE: usize = 5;
const PROMISE: Promise = Promise {
    groups: 3,
    pods: 2,
    unavailable: 1,
};

/// Ten models of three groups of two pods.
fn models(image: &str) -> String {
    let template = json!({ "spec": { "containers": [{ "name": "engine", "image": image }] } });
    let model = |number| {
        json!({
            "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
            "metadata": { "name": format!("model-{number}"), "namespace": "default" },
            "spec": { "replicas": PROMISE.groups, "schedulerName": "default-scheduler", "template": { "roles": [{
                "name": "decode", "replicas": 1, "workerReplicas": 1,
                "entryTemplate": template, "workerTemplate": template,
            }] } },
        })
    };
    let items: Vec<_> = (0..MODELS).map(model).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

impl Cluster {
    fn apply_models(&self, image: &str) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, models(image).as_bytes()).unwrap();
        let applied = self.kubectl(&["apply", "-f", file.path().to_str().unwrap()]);
        assert!(applied.success, "{}", applied.stderr);
    }

    /// How many models say that all of their newest spec is there.
    fn finished(&self) -> usize {
        let path = "jsonpath={range .items[*]}{.metadata.generation}={.status.observedGeneration} \
            {.status.availableReplicas}={.status.updatedReplicas} {.status.replicas}=3 \
            {.status.currentRevision}={.status.updateRevision}{\"\\n\"}{end}";
        let said = self.kubectl(&["get", "modelservings", "-o", path]).stdout;
        let is_equal = |pair: &str| pair.split_once('=').is_some_and(|(one, two)| one == two);
        said.lines()
            .filter(|line| line.split(' ').all(is_equal))
            .filter(|line| line.contains(" 3=3 3=3 "))
            .count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_killed_again_and_again_rolls_out_as_if_it_had_lived() {
    let mut cluster = Cluster::start().await;
    let client = cluster.plane.client().await.unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::new(PROMISE)));
    let watching = tokio::spawn({
        let (ledger, client) = (Arc::clone(&ledger), client.clone());
        async move { Ledger::keep(&ledger, client).await }
    });
    cluster.start_manager();
    cluster.apply_models("engine:1");
    eventually_ok("all models are there", PATIENCE, || async {
        let finished = cluster.finished();
        (finished == MODELS).then_some(()).ok_or(finished)
    })
    .await
    .unwrap();
    let old = ledger.lock().unwrap().revisions();

    cluster.apply_models("engine:2");
    let all = MODELS * PROMISE.groups * PROMISE.pods;
    let mut kills = 0;
    let mut renewed = 0;
    while renewed < all {
        let enough = (renewed + LIFE).min(all);
        renewed = eventually_ok("some more pods are new", PATIENCE, || async {
            let ledger = ledger.lock().unwrap();
            let renewed = ledger.renewed(&old);
            (renewed >= enough)
                .then_some(renewed)
                .ok_or_else(|| (renewed, ledger.faults().to_vec()))
        })
        .await
        .unwrap();
        cluster.stop_manager(Signal::KILL);
        cluster.start_manager();
        kills += 1;
    }
    eventually_ok("all models are new", PATIENCE, || async {
        let finished = cluster.finished();
        (finished == MODELS).then_some(()).ok_or(finished)
    })
    .await
    .unwrap();

    assert!(kills >= 3, "killed {kills} times only");
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let names: BTreeSet<_> = pods.iter().map(ResourceExt::name_any).collect();
    let groups = (0..MODELS)
        .flat_map(|model| (0..PROMISE.groups).map(move |group| format!("model-{model}-{group}")));
    let expected: BTreeSet<_> = groups
        .flat_map(|group| (0..PROMISE.pods).map(move |index| format!("{group}-decode-0-{index}")))
        .collect();
    assert_eq!(names, expected);
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.faults(), [] as [String; 0]);
    // Killed in the middle of deleting a group, it may complete the group as it was before it is its turn again.
    let most = 2 * all + kills * PROMISE.pods;
    let seen = ledger.pods_seen();
    assert!(seen <= most, "{seen} pods were made, {kills} kills");
    watching.abort();
}
