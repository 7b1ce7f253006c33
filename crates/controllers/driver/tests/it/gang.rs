//! Gangs on a cluster that learns about `PodGroup`s while the controller runs.

use kthena_testkit::{crds, eventually_ok};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::fixture::{Bench, SOON, role, serving};

fn pod_groups(client: Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "scheduling.volcano.sh".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "scheduling.volcano.sh/v1beta1".to_owned(),
        kind: "PodGroup".to_owned(),
        plural: "podgroups".to_owned(),
    };
    Api::namespaced_with(client, namespace, &resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn r79_pod_groups_are_made_once_the_cluster_knows_them_and_follow_their_groups() {
    let bench = Bench::new().await;
    let controller = bench.start();
    let mut object = serving("gang", 2, &[role("decode", 1, 1)]);
    object["spec"]["schedulerName"] = json!("volcano");
    bench.apply(&object).await;
    bench.ready("gang").await;
    let before: Vec<_> = bench.pods().await.iter().map(ResourceExt::uid).collect();

    crds::install(&bench.client, &[crds::pod_group()])
        .await
        .expect("a definition");
    let gangs = pod_groups(bench.client.clone(), &bench.namespace);
    let names = async |expected: &[&str]| {
        eventually_ok("the gangs", SOON, || async {
            let list = gangs
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let names: Vec<_> = list.iter().map(ResourceExt::name_any).collect();
            if names == expected {
                Ok(list.items)
            } else {
                Err(format!("{names:?}"))
            }
        })
        .await
        .expect("as expected")
    };
    let made = names(&["gang-0", "gang-1"]).await;
    assert_eq!(made[0].data["spec"]["minMember"], 2);
    let after: Vec<_> = bench.pods().await.iter().map(ResourceExt::uid).collect();
    assert_eq!(before, after, "running pods are not touched");

    bench
        .merge("gang", json!({ "spec": { "replicas": 1 } }))
        .await;
    names(&["gang-0"]).await;
    bench.ready("gang").await;
    controller.stop().await;
}
