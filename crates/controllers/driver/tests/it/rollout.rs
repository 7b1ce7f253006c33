//! A new template reaches all groups, a few at a time.

use kthena_testkit::eventually_ok;
use serde_json::json;

use crate::fixture::{Bench, SOON, role, serving};

#[tokio::test(flavor = "multi_thread")]
async fn r47_a_rollout_replaces_every_group_and_survives_a_killed_manager() {
    let bench = Bench::new().await;
    let controller = bench.start();
    let mut object = serving("sample", 3, &[role("decode", 1, 1)]);
    bench.apply(&object).await;
    let before = bench.ready("sample").await;

    for template in ["entryTemplate", "workerTemplate"] {
        object["spec"]["template"]["roles"][0][template]["spec"]["containers"][0]["image"] =
            json!("engine:2");
    }
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
