//! A new template reaches all groups, a few at a time.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kthena_api::labels;
use kthena_testkit::eventually_ok;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::fixture::{Bench, SOON, role, serving, set_image};

#[tokio::test(flavor = "multi_thread")]
async fn r47_a_rollout_replaces_every_group_and_survives_a_killed_manager() {
    let bench = Bench::new().await;
    let controller = bench.start();
    let mut object = serving("sample", 3, &[role("decode", 1, 1)]);
    bench.apply(&object).await;
    let before = bench.ready("sample").await;

    set_image(&mut object, "engine:2");
    bench.apply(&object).await;
    eventually_ok("the rollout has begun", SOON, || async {
        let status = bench.status("sample").await;
        if status.update_revision == before.update_revision {
            Err(status)
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    controller.kill();

    let controller = bench.start();
    let after = bench.ready("sample").await;

    assert_eq!(after.current_revision, after.update_revision);
    let pods = bench.pods().await;
    assert_eq!(pods.len(), 6);
    for pod in &pods {
        let image = pod.spec.as_ref().unwrap().containers[0].image.as_deref();
        assert_eq!(image, Some("engine:2"));
    }
    controller.stop().await;
}

/// The numbers and names of stored revisions, the last wanted last.
async fn history(bench: &Bench) -> Vec<(i64, String)> {
    let api: Api<ControllerRevision> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let stored = api.list(&ListParams::default()).await.expect("a list");
    let mut history: Vec<_> = stored
        .iter()
        .map(|one| (one.revision, one.labels()[labels::REVISION].clone()))
        .collect();
    history.sort();
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_revisions_stay_as_the_object_asks_for_and_are_found_again() {
    let bench = Bench::new().await;
    let controller = bench.start();
    let mut object = serving("sample", 1, &[role("decode", 1, 0)]);
    object["spec"]["revisionHistoryLimit"] = json!(1);
    let mut wanted = Vec::new();
    for image in ["engine:1", "engine:2", "engine:1", "engine:3"] {
        set_image(&mut object, image);
        bench.apply(&object).await;
        wanted.push(bench.ready("sample").await.update_revision);
    }

    assert_eq!(wanted[0], wanted[2]);
    let expected = vec![(3, wanted[2].clone()), (4, wanted[3].clone())];
    eventually_ok("what is kept is what was wanted last", SOON, || async {
        let found = history(&bench).await;
        (found == expected).then_some(()).ok_or(found)
    })
    .await
    .unwrap();
    controller.stop().await;
}
