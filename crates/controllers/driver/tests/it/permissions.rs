//! The controllers with no more permissions than `deploy/rbac` gives them.

use kthena_testkit::{ControlPlane, binary, crds};
use kube::Client;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::Request;
use kube::discovery::{self, Scope};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{Bench, role, serving, set_image};
use crate::sets::{PARTS, SetBench, set};

const ACCOUNT: &str = "system:serviceaccount:kthena-system:kthena-controller-manager";

/// Puts the file on the server.
async fn install(client: &Client) {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kthena-system" },
    });
    let file = binary::repository().join("deploy/rbac/controller-manager.yaml");
    let text = std::fs::read_to_string(file).expect("the file");
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let objects = documents.map(|document| Value::deserialize(document).expect("YAML"));
    for object in std::iter::once(namespace).chain(objects) {
        apply(client, object).await;
    }
}

async fn apply(client: &Client, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let types = object.types.clone().expect("a type");
    let kind = kube::core::GroupVersionKind::try_from(&types).expect("a kind");
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.expect("served");
    let url = url(&resource, &capabilities.scope, &object);
    let name = object.metadata.name.clone().expect("a name");
    let request = Request::new(url)
        .patch(
            &name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(&object),
        )
        .expect("a request");
    client.request_text(request).await.expect("applied");
}

fn url(resource: &ApiResource, scope: &Scope, object: &DynamicObject) -> String {
    let root = if resource.group.is_empty() {
        "api"
    } else {
        "apis"
    };
    let version = &resource.api_version;
    let plural = &resource.plural;
    match (scope, &object.metadata.namespace) {
        (Scope::Namespaced, Some(namespace)) => {
            format!("/{root}/{version}/namespaces/{namespace}/{plural}")
        }
        _ => format!("/{root}/{version}/{plural}"),
    }
}

/// A client with the permissions of the controllers' account.
async fn limited() -> Client {
    let plane = ControlPlane::shared(&PARTS).await.expect("the same plane");
    let mut config = plane.client_config().await.expect("a configuration");
    config.auth_info.impersonate = Some(ACCOUNT.to_owned());
    Client::try_from(config).expect("a client")
}

/// Pods, services, snapshots and their notes, gangs, sets, statuses and deletions.
#[tokio::test(flavor = "multi_thread")]
async fn r105_the_permissions_in_deploy_are_enough() {
    let sets = SetBench::new().await;
    crds::install(&sets.bench.client, &[crds::pod_group()])
        .await
        .expect("a definition");
    install(&sets.bench.client).await;
    let controllers = Bench {
        client: limited().await,
        namespace: sets.bench.namespace.clone(),
    }
    .start();

    let mut object = serving("gang", 2, &[role("decode", 1, 1)]);
    object["spec"]["schedulerName"] = json!("volcano");
    sets.bench.apply(&object).await;
    sets.apply(&set("set", 1, 2)).await;
    sets.bench.ready("gang").await;
    sets.ready("set").await;

    // A role count is noted at the snapshot and changes the gangs.
    object["spec"]["template"]["roles"][0]["replicas"] = json!(2);
    sets.bench.apply(&object).await;
    sets.bench.ready("gang").await;
    // A new template replaces groups, gangs and snapshots.
    set_image(&mut object, "engine:2");
    object["spec"]["replicas"] = json!(1);
    sets.bench.apply(&object).await;
    sets.bench.ready("gang").await;
    sets.delete("set").await;
    controllers.stop().await;
}
