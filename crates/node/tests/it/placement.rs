//! Binding, room on the node, GPUs, and the Node object itself.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kthena_testkit::eventually;
use kube::Api;
use rstest::rstest;
use serde_json::json;

use crate::support::{Fixture, PATIENCE, Server, condition, fixture, fixture_on, shell};

/// A pod that no scheduler of this server will bind, for our node only.
async fn unbound(fixture: &Fixture, name: &str, resources: serde_json::Value) {
    let mut main = shell("main", "echo gpus $CUDA_VISIBLE_DEVICES; exec sleep 1000");
    main["resources"] = resources;
    fixture
        .create::<Pod>(json!({
            "metadata": { "name": name },
            "spec": {
                "schedulerName": "volcano",
                "nodeSelector": { "kubernetes.io/hostname": fixture.node },
                "containers": [main],
            },
        }))
        .await;
}

#[tokio::test]
async fn the_node_registers_and_keeps_its_lease() {
    let fixture = fixture().await;
    let nodes: Api<Node> = Api::all(fixture.client.clone());
    let leases: Api<Lease> = Api::namespaced(fixture.client.clone(), "kube-node-lease");

    let node = nodes.get(&fixture.node).await.unwrap();
    let lease = eventually("the lease is there", PATIENCE, || async {
        leases.get_opt(&fixture.node).await.unwrap()
    })
    .await
    .unwrap();

    let status = node.status.unwrap();
    assert_eq!(status.capacity.unwrap()["cpu"].0, "4");
    assert!(
        status
            .conditions
            .unwrap()
            .iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
    );
    assert!(
        status
            .addresses
            .unwrap()
            .iter()
            .any(|one| one.address == "127.0.0.1")
    );
    assert_eq!(
        lease.spec.unwrap().holder_identity,
        Some(fixture.node.clone())
    );
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn a_pod_waits_until_there_is_room(#[case] server: Server) {
    let fixture = fixture_on(server, |config| config.claim_unassigned = true).await;
    unbound(&fixture, "first", json!({ "requests": { "cpu": "3" } })).await;
    fixture.ready("first").await;
    unbound(&fixture, "second", json!({ "requests": { "cpu": "2" } })).await;

    let message = fixture
        .event("second", "FailedScheduling", "insufficient cpu")
        .await;
    assert!(
        message.starts_with("0/1 nodes are available: insufficient cpu"),
        "{message}"
    );
    let unschedulable = |pod: &Pod| {
        let conditions = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|one| one.reason.as_deref() == Some("Unschedulable"))
    };
    fixture
        .wait("second", "it is unschedulable", unschedulable)
        .await;

    fixture.delete("first", 1).await;
    let pod = fixture.ready("second").await;

    assert!(condition(&pod, "PodScheduled"));
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn gpus_are_handed_out_once_and_taken_back(#[case] server: Server) {
    let fixture = fixture_on(server, |config| {
        config.claim_unassigned = true;
        config.capacity.gpus = 3;
    })
    .await;
    let gpus = |count: u32| json!({ "limits": { "nvidia.com/gpu": count.to_string() } });
    unbound(&fixture, "two", gpus(2)).await;
    assert_eq!(fixture.logged("two", "gpus").await, "gpus 0,1\n");
    unbound(&fixture, "one", gpus(1)).await;
    assert_eq!(fixture.logged("one", "gpus").await, "gpus 2\n");
    unbound(&fixture, "none", json!({})).await;
    assert_eq!(fixture.logged("none", "gpus").await, "gpus\n");
    unbound(&fixture, "next", gpus(2)).await;
    fixture
        .event("next", "FailedScheduling", "insufficient nvidia.com/gpu")
        .await;

    fixture.delete("two", 1).await;

    assert_eq!(fixture.logged("next", "gpus").await, "gpus 0,1\n");
}
