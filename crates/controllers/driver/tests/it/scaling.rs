//! More and fewer groups and role instances.

use k8s_openapi::api::core::v1::Pod;
use kthena_api::labels;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Bench, role, serving};

fn uids(pods: &[Pod]) -> Vec<(String, Option<String>)> {
    pods.iter().map(|pod| (pod.name_any(), pod.uid())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_scale_up_and_down_and_the_rest_is_untouched() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving("sample", 1, &[role("decode", 1, 1)]))
        .await;
    bench.ready("sample").await;
    let first = uids(&bench.pods().await);

    bench
        .merge("sample", json!({ "spec": { "replicas": 3 } }))
        .await;
    bench.ready("sample").await;
    assert_eq!(bench.pods().await.len(), 6);
    assert_eq!(bench.services().await.len(), 3);

    bench
        .merge("sample", json!({ "spec": { "replicas": 1 } }))
        .await;
    bench
        .only(&["sample-0-decode-0-0", "sample-0-decode-0-1"])
        .await;
    let status = bench.ready("sample").await;

    assert_eq!(uids(&bench.pods().await), first);
    assert_eq!(bench.services().await, ["sample-0-decode-0-0"], "R63");
    assert_eq!(status.current_replicas, 1);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_roles_scale_in_every_group_without_a_new_revision() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving(
            "sample",
            2,
            &[role("prefill", 1, 0), role("decode", 1, 0)],
        ))
        .await;
    let before = bench.ready("sample").await;
    let first = uids(&bench.pods().await);

    bench
        .apply(&serving(
            "sample",
            2,
            &[role("prefill", 1, 0), role("decode", 3, 0)],
        ))
        .await;
    let after = bench.ready("sample").await;
    assert_eq!(bench.live().await.len(), 8);
    assert_eq!(before.update_revision, after.update_revision);

    bench
        .apply(&serving(
            "sample",
            2,
            &[role("prefill", 1, 0), role("decode", 1, 0)],
        ))
        .await;
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    bench.only(&names).await;
    bench.ready("sample").await;
    assert_eq!(uids(&bench.pods().await), first);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r36_the_group_that_costs_least_goes_and_its_place_is_filled_first() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving("sample", 3, &[role("decode", 1, 0)]))
        .await;
    bench.ready("sample").await;
    for (name, cost) in [
        ("sample-0-decode-0-0", "100"),
        ("sample-1-decode-0-0", "-5"),
        ("sample-2-decode-0-0", "7"),
    ] {
        let patch = json!({ "metadata": { "annotations": { labels::POD_DELETION_COST: cost } } });
        bench
            .pods_api()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    bench
        .merge("sample", json!({ "spec": { "replicas": 2 } }))
        .await;
    bench
        .only(&["sample-0-decode-0-0", "sample-2-decode-0-0"])
        .await;

    bench
        .merge("sample", json!({ "spec": { "replicas": 3 } }))
        .await;
    bench
        .only(&[
            "sample-0-decode-0-0",
            "sample-1-decode-0-0",
            "sample-2-decode-0-0",
        ])
        .await;
    bench.ready("sample").await;
    controller.stop().await;
}
