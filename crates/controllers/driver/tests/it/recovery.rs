//! What is rebuilt when pods are lost.

use std::collections::BTreeSet;

use kthena_testkit::eventually_ok;
use kube::ResourceExt;
use rstest::rstest;
use serde_json::json;

use crate::fixture::{Bench, SOON, role, serving};

#[rstest]
#[case::the_role_instance("RoleRecreate", &["sample-0-decode-1-0", "sample-0-decode-1-1"])]
#[case::the_group("ServingGroupRecreate", &[
    "sample-0-decode-0-0", "sample-0-decode-0-1", "sample-0-decode-1-0", "sample-0-decode-1-1"])]
#[case::the_pod("None", &["sample-0-decode-1-1"])]
#[tokio::test(flavor = "multi_thread")]
async fn r59_a_lost_pod_rebuilds_the_unit_of_the_policy(
    #[case] policy: &str,
    #[case] renewed: &[&str],
) {
    let bench = Bench::new().await;
    let controller = bench.start();
    let mut object = serving("sample", 2, &[role("decode", 2, 1)]);
    object["spec"]["recoveryPolicy"] = json!(policy);
    bench.apply(&object).await;
    bench.ready("sample").await;
    let before: BTreeSet<_> = bench
        .pods()
        .await
        .iter()
        .map(|pod| (pod.name_any(), pod.uid()))
        .collect();

    bench.delete_pod("sample-0-decode-1-1").await;

    let expected: BTreeSet<_> = renewed.iter().map(|name| (*name).to_owned()).collect();
    eventually_ok("the unit is rebuilt", SOON, || async {
        let pods = bench.pods().await;
        let new: BTreeSet<_> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter(|pod| !before.contains(&(pod.name_any(), pod.uid())))
            .map(ResourceExt::name_any)
            .collect();
        if pods.len() == 8 && new == expected {
            Ok(())
        } else {
            Err(new)
        }
    })
    .await
    .unwrap();
    bench.ready("sample").await;
    controller.stop().await;
}
