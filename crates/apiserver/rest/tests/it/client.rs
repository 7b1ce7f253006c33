//! `kube::Client` in process.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use crate::support::{DEADLINE, TestServer};

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "a": "1" } })).unwrap()
}

#[tokio::test]
async fn creates_reads_lists_and_watches() {
    let test = TestServer::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(test.client());

    let made = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    assert!(made.uid().is_some());
    let version = made.resource_version().unwrap();
    assert_eq!(maps.get("one").await.unwrap(), made);
    assert_eq!(
        maps.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );

    let events = maps.watch(&WatchParams::default(), &version).await.unwrap();
    futures::pin_mut!(events);
    maps.create(&PostParams::default(), &config_map("two"))
        .await
        .unwrap();
    let event = tokio::time::timeout(DEADLINE, events.try_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(matches!(event, WatchEvent::Added(map) if map.name_any() == "two"));
    test.stop().await;
}

#[tokio::test]
async fn a_write_against_an_old_version_is_a_conflict() {
    let test = TestServer::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(test.client());
    let first = maps
        .create(&PostParams::default(), &config_map("one"))
        .await
        .unwrap();
    let mut changed = first.clone();
    changed
        .data
        .get_or_insert_default()
        .insert("b".into(), "2".into());
    maps.replace("one", &PostParams::default(), &changed)
        .await
        .unwrap();

    let mut late = first;
    late.data
        .get_or_insert_default()
        .insert("c".into(), "3".into());
    let refused = maps
        .replace("one", &PostParams::default(), &late)
        .await
        .unwrap_err();

    assert!(
        matches!(refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict")
    );
    test.stop().await;
}

#[tokio::test]
async fn server_side_apply_tells_who_owns_a_contested_field() {
    let test = TestServer::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(test.client());
    let configuration = |value: &str| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shared" }, "data": { "a": value },
        }))
    };
    maps.patch("shared", &PatchParams::apply("first"), &configuration("1"))
        .await
        .unwrap();

    let refused = maps
        .patch("shared", &PatchParams::apply("second"), &configuration("2"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409 && status.message.contains("first"))
    );
    let forced = maps
        .patch(
            "shared",
            &PatchParams::apply("second").force(),
            &configuration("2"),
        )
        .await
        .unwrap();

    assert_eq!(forced.data.unwrap()["a"], "2");
    test.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_a_pod_from_creation_to_removal() {
    let test = TestServer::start().await;
    let pods: Api<Pod> = Api::default_namespaced(test.client());
    let pod = serde_json::from_value(json!({
        "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    }))
    .unwrap();
    let mut events =
        kube::runtime::watcher(pods.clone(), kube::runtime::watcher::Config::default()).boxed();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    pods.delete("p", &DeleteParams::default()).await.unwrap();

    let saw_removal = async {
        while let Some(event) = events.try_next().await.unwrap() {
            if let kube::runtime::watcher::Event::Delete(pod) = event {
                return pod.name_any();
            }
        }
        String::new()
    };
    let list_is_empty = async {
        loop {
            if pods
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
            {
                return String::from("p");
            }
            tokio::task::yield_now().await;
        }
    };
    // The watcher may start after both changes and then rightly sees nothing at all.
    let seen = tokio::time::timeout(DEADLINE, async {
        tokio::select! { name = saw_removal => name, name = list_is_empty => name }
    });
    assert_eq!(seen.await.unwrap(), "p");
    test.stop().await;
}
