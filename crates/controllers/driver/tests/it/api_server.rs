//! The API server goes away in the middle of the work and has forgotten everything but the present when it is back.

use std::sync::{Arc, Mutex};

use kthena_testkit::ledger::{Ledger, Promise};
use kthena_testkit::{ControlPlane, crds, eventually, eventually_ok};
use kube::ResourceExt;
use tokio::task::JoinSet;

use crate::fixture::{Bench, SOON, role, serving, set_image};
use crate::killed::kubelet;

const PROMISE: Promise = Promise {
    groups: 4,
    pods: 2,
    unavailable: 1,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_survives_an_api_server_that_restarts_without_its_history() {
    let mut plane = ControlPlane::start(&[]).await.expect("a control plane");
    let bench = Bench {
        client: plane.client().await.expect("a client"),
        namespace: "default".to_owned(),
    };
    let definitions: Vec<_> = kthena_api::crd::all()
        .into_iter()
        .map(|definition| serde_json::from_value(definition).expect("a definition"))
        .collect();
    crds::install(&bench.client, &definitions)
        .await
        .expect("definitions");
    let ledger = Arc::new(Mutex::new(Ledger::new(PROMISE)));
    let mut beside = JoinSet::new();
    beside.spawn(kubelet(bench.client.clone()));
    beside.spawn({
        let (ledger, client) = (Arc::clone(&ledger), bench.client.clone());
        async move { Ledger::keep(&ledger, client).await }
    });
    let controller = bench.start();
    let mut object = serving("sample", 4, &[role("decode", 1, 1)]);
    bench.apply(&object).await;
    let before = bench.ready("sample").await;

    set_image(&mut object, "engine:2");
    bench.apply(&object).await;
    eventually("a first pod is replaced", SOON, || async {
        let ledger = ledger.lock().expect("no panic");
        (ledger.pods_seen() > 8).then_some(())
    })
    .await
    .expect("the rollout begins");
    plane.restart_api_server().await.expect("it is back");

    let after = bench.ready("sample").await;
    assert_ne!(after.update_revision, before.update_revision);
    assert_eq!(after.current_revision, after.update_revision);
    let expected: Vec<_> = (0..4)
        .flat_map(|group| (0..2).map(move |index| format!("sample-{group}-decode-0-{index}")))
        .collect();
    assert_eq!(bench.live().await, expected);
    // What happens from now on is noticed too.
    let lost = bench.pods().await[0].uid();
    bench.delete_pod("sample-0-decode-0-0").await;
    eventually_ok("the lost pod is back", SOON, || async {
        let pod = bench.pods_api().get("sample-0-decode-0-0").await;
        match pod {
            Ok(pod) if pod.uid() != lost => Ok(()),
            other => Err(other.map(|pod| pod.uid())),
        }
    })
    .await
    .expect("it is made again");
    bench.ready("sample").await;
    let faults = ledger.lock().expect("no panic").faults().to_vec();
    assert_eq!(faults, [] as [String; 0]);
    controller.stop().await;
    beside.shutdown().await;
}
