//! Owner references and the three ways to delete an owner.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, PropagationPolicy},
};
use rstest::rstest;
use serde_json::json;

use crate::support::{DEADLINE, TestServer};

async fn family(client: Client) -> Api<ConfigMap> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let make = |object| serde_json::from_value::<ConfigMap>(object).unwrap();
    let owner = make(json!({ "metadata": { "name": "owner" } }));
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    let child = make(json!({
        "metadata": {
            "name": "child",
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
    }));
    maps.create(&PostParams::default(), &child).await.unwrap();
    maps
}

async fn names(maps: &Api<ConfigMap>) -> Vec<String> {
    let listed = maps.list(&ListParams::default()).await.unwrap();
    listed.iter().map(kube::ResourceExt::name_any).collect()
}

#[rstest]
#[case::background(PropagationPolicy::Background, &[])]
#[case::foreground(PropagationPolicy::Foreground, &[])]
#[case::orphan(PropagationPolicy::Orphan, &["child"])]
#[tokio::test]
async fn deleting_an_owner(#[case] policy: PropagationPolicy, #[case] expected: &[&str]) {
    let test = TestServer::start().await;
    let maps = family(test.client()).await;

    let parameters = DeleteParams {
        propagation_policy: Some(policy),
        ..DeleteParams::default()
    };
    maps.delete("owner", &parameters).await.unwrap();

    let settled = tokio::time::timeout(DEADLINE, async {
        while names(&maps).await != expected {
            tokio::task::yield_now().await;
        }
    });
    settled.await.unwrap();
    if let [child] = expected {
        let left = maps.get(child).await.unwrap();
        assert!(left.owner_references().is_empty());
    }
    test.stop().await;
}
