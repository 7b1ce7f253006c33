//! Creation, status, deletion and restarts.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ResourceQuota;
use kthena_api::labels;
use kthena_testkit::{eventually, eventually_ok};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::fixture::{Bench, SOON, role, serving};

#[tokio::test(flavor = "multi_thread")]
async fn creates_groups_roles_pods_services_and_a_snapshot() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving(
            "sample",
            2,
            &[role("prefill", 1, 1), role("decode", 2, 0)],
        ))
        .await;

    let status = bench.ready("sample").await;

    assert_eq!(
        bench.live().await,
        [
            "sample-0-decode-0-0",
            "sample-0-decode-1-0",
            "sample-0-prefill-0-0",
            "sample-0-prefill-0-1",
            "sample-1-decode-0-0",
            "sample-1-decode-1-0",
            "sample-1-prefill-0-0",
            "sample-1-prefill-0-1",
        ]
    );
    assert_eq!(
        bench.services().await,
        ["sample-0-prefill-0-0", "sample-1-prefill-0-0"]
    );
    let snapshots: Api<ControllerRevision> =
        Api::namespaced(bench.client.clone(), &bench.namespace);
    let snapshots = snapshots.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(snapshots.len(), 1);
    assert_eq!(
        snapshots[0].name_any(),
        format!("sample-{}", status.update_revision)
    );
    let conditions = status.conditions.unwrap();
    let true_ones: Vec<_> = conditions
        .iter()
        .filter(|one| one.status == "True")
        .map(|one| one.type_.as_str())
        .collect();
    assert_eq!(true_ones, ["Available"], "R71");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r95_a_manager_killed_while_creating_ends_with_exactly_25_pods() {
    let bench = Bench::new().await;
    let object = serving("big", 5, &[role("prefill", 1, 2), role("decode", 1, 1)]);
    let first = bench.start();
    bench.apply(&object).await;
    eventually("some pods", SOON, || async {
        (bench.live().await.len() >= 5).then_some(())
    })
    .await
    .unwrap();
    first.kill();
    let before = bench.pods().await;

    let second = bench.start();
    bench.ready("big").await;

    let after = bench.pods().await;
    assert_eq!(after.len(), 25);
    for pod in &before {
        let same = after
            .iter()
            .find(|other| other.name_any() == pod.name_any())
            .expect("still there");
        assert_eq!(same.uid(), pod.uid(), "nothing healthy is restarted");
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r72_a_settled_object_is_not_written_again_even_by_a_new_controller() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving("calm", 1, &[role("decode", 1, 1)]))
        .await;
    bench.ready("calm").await;
    controller.stop().await;
    let before = bench.servings().get("calm").await.unwrap();

    let controller = bench.start();
    // A second object proves that the controller has been through its queue.
    bench
        .apply(&serving("other", 1, &[role("decode", 1, 0)]))
        .await;
    bench.ready("other").await;

    let after = bench.servings().get("calm").await.unwrap();
    assert_eq!(before.resource_version(), after.resource_version());
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r91_deleting_in_the_foreground_takes_everything_along() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving("doomed", 2, &[role("decode", 1, 1)]))
        .await;
    bench.ready("doomed").await;

    bench
        .servings()
        .delete("doomed", &DeleteParams::foreground())
        .await
        .unwrap();

    eventually_ok("everything is gone", SOON, || async {
        let pods = bench.pods().await.len();
        let services = bench.services().await.len();
        let object = bench.servings().get_opt("doomed").await.unwrap().is_some();
        if (pods, services, object) == (0, 0, false) {
            Ok(())
        } else {
            Err((pods, services, object))
        }
    })
    .await
    .unwrap();
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r24_pods_of_strangers_are_left_alone() {
    let bench = Bench::new().await;
    bench
        .stranger(json!({ "name": "stranger", "labels": {
            labels::MODEL_SERVING_NAME: "sample", labels::GROUP_NAME: "sample-0", labels::ROLE: "decode",
            labels::ROLE_ID: "decode-0", labels::ENTRY: "true",
        } }))
        .await;
    let controller = bench.start();
    bench
        .apply(&serving("sample", 2, &[role("decode", 1, 0)]))
        .await;
    bench.ready("sample").await;

    bench
        .merge("sample", json!({ "spec": { "replicas": 0 } }))
        .await;

    bench.only(&["stranger"]).await;
    bench.ready("sample").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r32_a_name_taken_by_a_stranger_is_told_and_waited_for() {
    let bench = Bench::new().await;
    bench
        .stranger(json!({ "name": "sample-0-decode-0-0" }))
        .await;
    let controller = bench.start();
    bench
        .apply(&serving("sample", 1, &[role("decode", 1, 0)]))
        .await;

    bench.event("NameConflict").await;
    let status = eventually("a status in spite of it", SOON, || async {
        Some(bench.status("sample").await).filter(|status| status.observed_generation == 1)
    })
    .await
    .unwrap();
    assert!(!status.label_selector.is_empty(), "R27");

    let now = DeleteParams::default().grace_period(0);
    bench
        .pods_api()
        .delete("sample-0-decode-0-0", &now)
        .await
        .unwrap();
    bench.ready("sample").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_an_object_with_nothing_to_do_has_a_status_and_scales_from_zero() {
    let bench = Bench::new().await;
    let controller = bench.start();
    bench
        .apply(&serving("empty", 0, &[role("decode", 1, 0)]))
        .await;

    let status = bench.ready("empty").await;
    assert_eq!(
        status.label_selector,
        "modelserving.volcano.sh/entry=true,modelserving.volcano.sh/name=empty,\
         modelserving.volcano.sh/role-id=decode-0,modelserving.volcano.sh/role=decode"
    );
    let scale = bench.servings().get_scale("empty").await.unwrap();
    assert_eq!(
        scale.status.unwrap().selector,
        Some(status.label_selector.clone()),
        "R69"
    );

    bench
        .merge("empty", json!({ "spec": { "replicas": 2 } }))
        .await;
    bench.ready("empty").await;
    let selected = bench
        .pods_api()
        .list(&ListParams::default().labels(&status.label_selector))
        .await
        .unwrap();
    assert_eq!(selected.items.len(), 2, "one pod per group");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_what_a_quota_refuses_is_told_and_tried_again() {
    let bench = Bench::new().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": { "name": "few" }, "spec": { "hard": { "pods": "1" } },
    }))
    .unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    eventually("the quota is in force", SOON, || async {
        quotas.get("few").await.ok()?.status?.hard
    })
    .await
    .unwrap();
    let controller = bench.start();
    bench
        .apply(&serving("sample", 3, &[role("decode", 1, 0)]))
        .await;

    let message = bench.event("FailedCreate").await;
    assert!(message.contains("quota"), "{message}");
    assert_eq!(bench.status("sample").await.observed_generation, 1, "R27");

    quotas
        .delete("few", &DeleteParams::default())
        .await
        .unwrap();
    bench.ready("sample").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r92_a_successor_of_the_same_name_waits_for_the_old_children_to_go() {
    let bench = Bench::new().await;
    let controller = bench.start();
    let object = serving("again", 1, &[role("decode", 1, 1)]);
    bench.apply(&object).await;
    bench.ready("again").await;
    let before = bench.pods().await;

    bench
        .servings()
        .delete("again", &DeleteParams::background())
        .await
        .unwrap();
    bench.apply(&object).await;

    bench.ready("again").await;
    let owner = bench.servings().get("again").await.unwrap().uid();
    for pod in bench.pods().await {
        assert!(before.iter().all(|old| old.uid() != pod.uid()));
        assert_eq!(Some(pod.owner_references()[0].uid.clone()), owner);
    }
    controller.stop().await;
}
