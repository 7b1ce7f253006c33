//! Watches, writes, events and leases against a real kube-apiserver.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kthena_cluster::events::{self, Severity, Subject};
use kthena_cluster::lease::{LeaseConfig, LeaseError, lead};
use kthena_cluster::write::{self, Propagation};
use kthena_cluster::{
    Change, ClientConfig, ObjectKey, RequestRate, Scope, Store, Target, WriteError, connect, watch,
    watch_dynamic,
};
use kthena_testkit::{ControlPlane, crds, eventually};
use kube::Client;
use kube::api::{Api, ApiResource, ListParams};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Generous: a test that passes never waits that long.
const SOON: Duration = Duration::from_mins(1);

async fn plane() -> &'static ControlPlane {
    ControlPlane::shared(&[]).await.expect("a control plane")
}

async fn client() -> Client {
    plane().await.client().await.expect("a client")
}

async fn namespace(client: &Client, name: &str) {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let target = Target::of::<k8s_openapi::api::core::v1::Namespace>();
    write::create(client, &target, None, &object)
        .await
        .expect("a namespace");
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "labels": { "kept": "yes" } }, "data": { "key": value },
    })
}

fn target() -> Target {
    Target::of::<ConfigMap>()
}

async fn next<K>(stream: &mut (impl Stream<Item = Change<K>> + Unpin)) -> Change<K> {
    timeout(SOON, stream.next())
        .await
        .expect("a change in time")
        .expect("no end")
}

#[tokio::test]
async fn a_watch_reports_what_happens_and_a_store_keeps_it() {
    let client = client().await;
    namespace(&client, "watching").await;
    write::create(&client, &target(), Some("watching"), &config_map("a", "1"))
        .await
        .unwrap();
    let scope = Scope {
        namespace: Some("watching".to_owned()),
        ..Scope::labelled("kept=yes")
    };
    let mut stream = std::pin::pin!(watch::<ConfigMap>(client.clone(), &scope));
    let mut store = Store::default();
    while !store.is_synced() {
        store.apply(&next(&mut stream).await);
    }
    assert_eq!(store.len(), 1);
    let key = ObjectKey::new("watching", "a");
    assert_eq!(store.get(&key).unwrap().metadata.managed_fields, None);

    let patch = json!({ "data": { "key": "2" } });
    let stamp = write::merge_patch(&client, &target(), &key, None, &patch)
        .await
        .unwrap();
    store.apply(&next(&mut stream).await);
    assert_eq!(store.get(&key).unwrap().data.as_ref().unwrap()["key"], "2");

    write::delete(
        &client,
        &target(),
        &key,
        &stamp.uid,
        Propagation::Background,
    )
    .await
    .unwrap();
    assert!(matches!(next(&mut stream).await, Change::Deleted(_)));
}

#[tokio::test]
async fn writes_answer_with_what_a_controller_decides_on() {
    let client = client().await;
    namespace(&client, "writing").await;
    let key = ObjectKey::new("writing", "a");
    let object = config_map("a", "1");
    let stamp = write::create(&client, &target(), Some("writing"), &object)
        .await
        .unwrap();

    let again = write::create(&client, &target(), Some("writing"), &object).await;
    assert!(matches!(again, Err(WriteError::AlreadyExists)), "{again:?}");
    let other = write::delete(
        &client,
        &target(),
        &key,
        "another-uid",
        Propagation::Background,
    )
    .await;
    assert!(
        matches!(other, Err(WriteError::Conflict { .. })),
        "{other:?}"
    );
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "data": { "key": "2" } });
    let stale = write::merge_patch(&client, &target(), &key, None, &stale).await;
    assert!(
        matches!(stale, Err(WriteError::Conflict { .. })),
        "{stale:?}"
    );
    let bad = write::create(
        &client,
        &target(),
        Some("writing"),
        &config_map("Not A Name", "1"),
    )
    .await;
    assert!(
        matches!(bad, Err(WriteError::Refused { code: 422, .. })),
        "{bad:?}"
    );
    let nowhere = write::create(&client, &target(), Some("no-such-namespace"), &object).await;
    assert!(matches!(nowhere, Err(WriteError::NotFound)), "{nowhere:?}");

    let there = write::stamp(&client, &target(), &key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (there.name, there.uid, there.resource_version),
        (stamp.name, stamp.uid.clone(), stamp.resource_version)
    );
    write::delete(
        &client,
        &target(),
        &key,
        &stamp.uid,
        Propagation::Background,
    )
    .await
    .unwrap();
    assert_eq!(write::stamp(&client, &target(), &key).await.unwrap(), None);
}

#[tokio::test]
async fn an_update_changes_a_part_of_the_object_that_is_meant() {
    let client = client().await;
    namespace(&client, "updates").await;
    let made = write::create(&client, &target(), Some("updates"), &config_map("m", "old"))
        .await
        .expect("created");
    let key = ObjectKey::new("updates", "m");

    let patch = json!({
        "metadata": { "uid": made.uid, "labels": { "kept": null, "added": "yes" } },
        "data": { "other": "new" },
    });
    write::update(&client, &target(), &key, &patch)
        .await
        .expect("updated");

    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "updates");
    let stored = api.get("m").await.expect("there");
    let labels = stored.metadata.labels.expect("labels");
    assert_eq!(
        labels.into_iter().collect::<Vec<_>>(),
        [("added".to_owned(), "yes".to_owned())]
    );
    let data = stored.data.expect("data");
    assert_eq!(
        (data["key"].as_str(), data["other"].as_str()),
        ("old", "new")
    );

    let other = json!({ "metadata": { "uid": "somebody-else" }, "data": { "key": "lost" } });
    let outcome = write::update(&client, &target(), &key, &other).await;
    assert!(
        matches!(outcome, Err(WriteError::Conflict { .. })),
        "{outcome:?}"
    );
    let mut outdated = config_map("m", "lost");
    outdated["metadata"]["resourceVersion"] = json!(made.resource_version);
    let outcome = write::replace(&client, &target(), &key, None, &outdated).await;
    assert!(
        matches!(outcome, Err(WriteError::Conflict { .. })),
        "{outcome:?}"
    );
    let gone = ObjectKey::new("updates", "gone");
    let outcome = write::update(&client, &target(), &gone, &other).await;
    assert!(matches!(outcome, Err(WriteError::NotFound)), "{outcome:?}");
}

#[tokio::test]
async fn a_definition_that_comes_later_is_picked_up() {
    let client = client().await;
    let group = ApiResource {
        group: "scheduling.volcano.sh".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "scheduling.volcano.sh/v1beta1".to_owned(),
        kind: "PodGroup".to_owned(),
        plural: "podgroups".to_owned(),
    };
    let mut stream = std::pin::pin!(watch_dynamic(client.clone(), &group, &Scope::default()));
    assert_eq!(next(&mut stream).await, Change::Absent);
    assert_eq!(next(&mut stream).await, Change::Synced);

    crds::install(&client, &[crds::pod_group()]).await.unwrap();
    namespace(&client, "gangs").await;
    let object = json!({
        "apiVersion": group.api_version, "kind": group.kind, "metadata": { "name": "gang" }, "spec": {},
    });
    write::create(&client, &Target::from(&group), Some("gangs"), &object)
        .await
        .unwrap();

    let found = loop {
        if let Change::Applied(object) = next(&mut stream).await {
            break object;
        }
    };
    assert_eq!(found.metadata.name.as_deref(), Some("gang"));
    assert_eq!(found.types.as_ref().unwrap().kind, "PodGroup");
}

#[tokio::test]
async fn r90_events_are_stored_and_repeats_counted() {
    let client = client().await;
    namespace(&client, "telling").await;
    let (recorder, writer) = events::recorder(client.clone(), "tester", "host");
    let subject = Subject {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        key: ObjectKey::new("telling", "a"),
        uid: "some-uid".to_owned(),
    };
    for _ in 0..3 {
        recorder.publish(&subject, Severity::Warning, "FailedCreate", "it failed");
    }
    recorder.publish(&subject, Severity::Normal, "RoleCreating", "it is created");
    drop(recorder);
    timeout(SOON, writer.run())
        .await
        .expect("the writer ends with its recorders");

    let api: Api<Event> = Api::namespaced(client, "telling");
    let mut events = api.list(&ListParams::default()).await.unwrap().items;
    events.sort_by_key(|event| event.reason.clone());
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.reason.as_deref().unwrap(),
                event.type_.as_deref().unwrap(),
                event.count,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("FailedCreate", "Warning", Some(3)),
            ("RoleCreating", "Normal", Some(1))
        ]
    );
    assert_eq!(events[0].involved_object.uid.as_deref(), Some("some-uid"));
    assert_eq!(events[0].reporting_component.as_deref(), Some("tester"));
}

#[tokio::test]
async fn r102_one_leads_and_hands_over_when_it_ends() {
    let client = client().await;
    let config = |identity: &str| LeaseConfig::new("default", "handing-over", identity);
    let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
    let (leading, is_leading) = tokio::sync::oneshot::channel();
    let first = tokio::spawn({
        let (client, stop) = (client.clone(), first_stop.clone());
        async move {
            let config = config("first");
            lead(client, &config, &stop, |stop| async move {
                leading.send(()).unwrap();
                stop.cancelled().await;
            })
            .await
        }
    });
    timeout(SOON, is_leading).await.unwrap().unwrap();
    let second = tokio::spawn({
        let (client, stop) = (client.clone(), second_stop.clone());
        async move {
            let config = config("second");
            lead(client, &config, &stop, |_| async { "led" }).await
        }
    });

    first_stop.cancel();
    assert!(matches!(
        timeout(SOON, first).await.unwrap().unwrap(),
        Ok(Some(()))
    ));
    assert!(matches!(
        timeout(SOON, second).await.unwrap().unwrap(),
        Ok(Some("led"))
    ));
    let api: Api<Lease> = Api::namespaced(client, "default");
    let spec = api.get("handing-over").await.unwrap().spec.unwrap();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some(""),
        "released on a clean end"
    );
}

#[tokio::test]
async fn r102_a_stolen_lease_stops_the_work() {
    let client = client().await;
    let mut config = LeaseConfig::new("default", "stolen", "me");
    config.retry_period = Duration::from_millis(200);
    let api: Api<Lease> = Api::namespaced(client.clone(), "default");
    let stop = CancellationToken::new();
    let outcome = lead(client.clone(), &config, &stop, |stop| async move {
        let key = ObjectKey::new("default", "stolen");
        let patch = json!({ "spec": { "holderIdentity": "thief", "leaseDurationSeconds": 3600 } });
        // A renewal may come in between; the thief insists.
        eventually("the lease is stolen", SOON, || async {
            write::merge_patch(&client, &Target::of::<Lease>(), &key, None, &patch)
                .await
                .ok()?;
            timeout(Duration::from_secs(1), stop.cancelled()).await.ok()
        })
        .await
        .unwrap();
    });

    assert!(matches!(
        timeout(SOON, outcome).await.unwrap(),
        Err(LeaseError::Lost { .. })
    ));
    let spec = api.get("stolen").await.unwrap().spec.unwrap();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some("thief"),
        "what is lost is not released"
    );
}

#[tokio::test]
async fn a_kubeconfig_is_enough_and_a_bad_one_is_named() {
    let plane = plane().await;
    let config = ClientConfig {
        kubeconfig: Some(plane.kubeconfig().to_owned()),
        master: Some(plane.url().to_owned()),
        rate: Some(RequestRate {
            per_second: 50.0,
            burst: 10.try_into().unwrap(),
        }),
    };
    let client = connect(&config).await.unwrap();
    client.apiserver_version().await.unwrap();

    let missing = ClientConfig {
        kubeconfig: Some("/no/such/file".into()),
        ..ClientConfig::default()
    };
    let Err(error) = connect(&missing).await else {
        panic!("a client from nowhere")
    };
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    let bad = ClientConfig {
        master: Some("not a url".to_owned()),
        ..config
    };
    let Err(error) = connect(&bad).await else {
        panic!("a client to nowhere")
    };
    assert!(error.to_string().contains("not a url"), "{error}");
}
