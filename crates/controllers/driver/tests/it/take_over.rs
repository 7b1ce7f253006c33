//! Installations of the controller that this one replaces, on a real API server: objects as that one makes them, with
//! its own hashes, its order of variables and its snapshots as Go writes them. Taking over changes no pod.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, Service};
use kthena_api::labels;
use kthena_api::model_serving::ModelServing;
use kthena_testkit::eventually_ok;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::fixture::{Bench, SOON, role, serving};

/// Roles as a user writes them.
const ROLES: &str = include_str!("take_over/roles.json");
/// The same as the data of a ControllerRevision: read from the API server and written by a program with the API's Go types.
const SNAPSHOT: &str = include_str!("take_over/snapshot_from_go.json");
/// Revisions as that controller names them.
const REVISIONS: [&str; 2] = ["84c8bf59d", "67b8d4b8c7"];
/// Its hashes of the roles, which say nothing about revisions.
const HASHES: [[&str; 2]; 2] = [["5d8f9c4b6", "7f6b6d8c9"], ["66d5c8f7b", "9c8b5f4d4"]];

/// Version 0 or 1 of the roles: they differ in their images.
fn version(text: &str, version: usize) -> Value {
    let image = ["engine:1", "engine:2"][version];
    serde_json::from_str(&text.replace("engine:1", image)).expect("JSON")
}

/// What is there, by name: equal if nobody wrote.
type Stamps = BTreeMap<String, [Option<String>; 2]>;

/// Their uids, and all of them but the status: a busy kubelet may write that once more.
fn stamps<K: ResourceExt + Serialize>(objects: &[K]) -> Stamps {
    let stamp = |one: &K| {
        let mut text = serde_json::to_value(one).expect("an object");
        text["status"].take();
        for field in ["resourceVersion", "managedFields"] {
            text["metadata"][field].take();
        }
        (one.name_any(), [one.uid(), Some(text.to_string())])
    };
    objects.iter().map(stamp).collect()
}

/// What that controller left in the cluster.
struct Left<'b> {
    bench: &'b Bench,
    owner: Value,
}

impl<'b> Left<'b> {
    /// The object at `wanted`, with the snapshots of both versions.
    async fn install(bench: &'b Bench, object: &Value, snapshots: &[usize]) -> Self {
        let object = bench.apply(object).await;
        let owner = json!({
            "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
            "name": "sample", "uid": object.uid(), "controller": true, "blockOwnerDeletion": true,
        });
        let left = Self { bench, owner };
        for index in snapshots {
            left.snapshot(*index).await;
        }
        left
    }

    async fn snapshot(&self, index: usize) {
        let revision = REVISIONS[index];
        let object = json!({
            "metadata": {
                "name": format!("sample-{revision}"), "ownerReferences": [self.owner],
                "labels": { labels::MODEL_SERVING_NAME: "sample", labels::REVISION: revision },
            },
            "revision": 1, "data": version(SNAPSHOT, index),
        });
        self.create::<ControllerRevision>(object).await;
    }

    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.bench.client.clone(), &self.bench.namespace);
        let object = serde_json::from_value(object).expect("an object");
        api.create(&PostParams::default(), &object)
            .await
            .expect("created");
    }

    /// Pods and services of one group at a version.
    async fn group(&self, ordinal: usize, index: usize) {
        let roles = version(ROLES, index);
        for (role, hash) in roles.as_array().expect("roles").iter().zip(HASHES[index]) {
            for instance in 0..role["replicas"].as_u64().expect("a count") {
                self.instance(ordinal, role, instance, (REVISIONS[index], hash))
                    .await;
            }
        }
    }

    async fn instance(&self, group: usize, role: &Value, instance: u64, marks: (&str, &str)) {
        let (group, name) = (
            format!("sample-{group}"),
            role["name"].as_str().expect("a name"),
        );
        let id = format!("{name}-{instance}");
        let workers = role["workerReplicas"].as_u64().expect("a count");
        let identity = json!({
            labels::MODEL_SERVING_NAME: "sample", labels::GROUP_NAME: group,
            labels::ROLE: name, labels::ROLE_ID: id,
        });
        let entry = format!("{group}-{id}-0");
        for index in 0..=workers {
            let template = if index == 0 {
                &role["entryTemplate"]
            } else {
                &role["workerTemplate"]
            };
            let mut pod = json!({
                "metadata": template["metadata"], "spec": template["spec"],
            });
            pod["metadata"]["name"] = json!(format!("{group}-{id}-{index}"));
            pod["metadata"]["ownerReferences"] = json!([self.owner]);
            for (key, value) in identity.as_object().expect("labels") {
                pod["metadata"]["labels"][key] = value.clone();
            }
            pod["metadata"]["labels"][labels::REVISION] = json!(marks.0);
            pod["metadata"]["labels"][labels::ROLE_TEMPLATE_HASH] = json!(marks.1);
            if index == 0 {
                pod["metadata"]["labels"][labels::ENTRY] = json!("true");
            }
            pod["spec"]["schedulerName"] = json!("default-scheduler");
            for list in ["initContainers", "containers"] {
                for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                    let user = container["env"].as_array().cloned().unwrap_or_default();
                    let ours = [
                        json!({ "name": "GROUP_SIZE", "value": (1 + workers).to_string() }),
                        json!({ "name": "ENTRY_ADDRESS", "value": format!("{entry}.{}", self.bench.namespace) }),
                        json!({ "name": "WORKER_INDEX", "value": index.to_string() }),
                    ];
                    container["env"] = user.into_iter().chain(ours).collect();
                }
            }
            self.create::<Pod>(pod).await;
        }
        if workers > 0 {
            let mut selector = identity.clone();
            selector
                .as_object_mut()
                .expect("labels")
                .remove(labels::MODEL_SERVING_NAME);
            selector[labels::ENTRY] = json!("true");
            let service = json!({
                "metadata": { "name": entry, "labels": identity, "ownerReferences": [self.owner] },
                "spec": { "clusterIP": "None", "publishNotReadyAddresses": true, "selector": selector },
            });
            self.create::<Service>(service).await;
        }
    }

    /// Waits until all pods are ready, and writes the status that goes with them.
    async fn settle(&self, status: Value) {
        let pods = self.bench.pods_api();
        eventually_ok("the old pods are ready", SOON, || async {
            let all = pods.list(&ListParams::default()).await.expect("pods").items;
            let waiting: Vec<_> = all
                .iter()
                .filter(|pod| !is_ready(pod))
                .map(ResourceExt::name_any)
                .collect();
            if waiting.is_empty() {
                Ok(())
            } else {
                Err(waiting)
            }
        })
        .await
        .expect("ready");
        self.bench
            .servings()
            .patch_status(
                "sample",
                &PatchParams::default(),
                &Patch::Merge(json!({ "status": status })),
            )
            .await
            .expect("patched");
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    conditions
        .flatten()
        .any(|one| one.type_ == "Ready" && one.status == "True")
}

fn object(replicas: i32, wanted: usize) -> Value {
    let roles = version(ROLES, wanted);
    serving("sample", replicas, roles.as_array().expect("roles"))
}

fn status(object: &ModelServing, revisions: [usize; 2], counts: [i32; 3]) -> Value {
    let [replicas, updated, available] = counts;
    json!({
        "observedGeneration": object.metadata.generation, "replicas": replicas,
        "updatedReplicas": updated, "currentReplicas": replicas - updated, "availableReplicas": available,
        "currentRevision": REVISIONS[revisions[0]], "updateRevision": REVISIONS[revisions[1]],
        "conditions": [{ "type": "Available", "status": "True", "reason": "AllGroupsReady",
            "message": "All Serving groups are ready", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    })
}

impl Bench {
    async fn service_stamps(&self) -> Stamps {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        stamps(
            &api.list(&ListParams::default())
                .await
                .expect("services")
                .items,
        )
    }

    async fn snapshots(&self) -> Vec<String> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = api.list(&ListParams::default()).await.expect("snapshots");
        all.iter()
            .map(ResourceExt::name_any)
            .filter(|name| name.starts_with("sample-"))
            .collect()
    }

    async fn sample_stamps(&self) -> Stamps {
        let mut all = stamps(&self.pods().await);
        all.retain(|name, _| name.starts_with("sample-"));
        all
    }

    /// Waits until the controller has been through its queue and has nothing to do for some time.
    async fn until_it_rests(&self) {
        self.apply(&serving("other", 1, &[role("decode", 1, 0)]))
            .await;
        self.ready("other").await;
        eventually_ok("the object is no longer written", SOON, || async {
            let before = self.servings().get("sample").await.expect("an object");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let after = self.servings().get("sample").await.expect("an object");
            let is_calm = before.resource_version() == after.resource_version()
                && after.status.is_some_and(|status| !status.roles.is_empty());
            if is_calm { Ok(()) } else { Err("written") }
        })
        .await
        .expect("rest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r100_a_settled_installation_is_taken_over_without_touching_a_pod() {
    let bench = Bench::new().await;
    let left = Left::install(&bench, &object(2, 0), &[0]).await;
    left.group(0, 0).await;
    left.group(1, 0).await;
    let sample = bench.servings().get("sample").await.unwrap();
    left.settle(status(&sample, [0, 0], [2, 2, 2])).await;
    let (pods, services) = (bench.sample_stamps().await, bench.service_stamps().await);
    assert_eq!((pods.len(), services.len()), (8, 2));

    let controller = bench.start();
    bench.until_it_rests().await;

    assert_eq!(bench.sample_stamps().await, pods, "no pod is written");
    assert_eq!(bench.service_stamps().await, services);
    assert_eq!(
        bench.snapshots().await,
        [format!("sample-{}", REVISIONS[0])]
    );
    let told = bench.status("sample").await;
    assert_eq!(
        [told.current_revision, told.update_revision],
        [REVISIONS[0], REVISIONS[0]]
    );

    bench.apply(&object(2, 1)).await;
    let told = bench.ready("sample").await;
    let after = bench.sample_stamps().await;
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        pods.keys().collect::<Vec<_>>()
    );
    assert!(
        after.iter().all(|(name, stamp)| stamp[0] != pods[name][0]),
        "all are new"
    );
    for pod in bench
        .pods()
        .await
        .iter()
        .filter(|pod| pod.name_any().starts_with("sample"))
    {
        assert_eq!(pod.labels()[labels::REVISION], told.update_revision);
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r97_a_rollout_held_by_a_partition_stays_held_and_heals_as_it_was() {
    let bench = Bench::new().await;
    let mut wanted = object(2, 1);
    wanted["spec"]["rolloutStrategy"] = json!({
        "type": "ServingGroupRollingUpdate",
        "rollingUpdateConfiguration": { "maxUnavailable": 1, "partition": 1 },
    });
    let left = Left::install(&bench, &wanted, &[0, 1]).await;
    left.group(0, 0).await;
    left.group(1, 1).await;
    let sample = bench.servings().get("sample").await.unwrap();
    left.settle(status(&sample, [0, 1], [2, 1, 2])).await;
    let pods = bench.sample_stamps().await;

    let controller = bench.start();
    bench.until_it_rests().await;
    assert_eq!(bench.sample_stamps().await, pods, "no pod is written");
    assert_eq!(bench.snapshots().await.len(), 2);

    bench.delete_pod("sample-0-prefill-0-1").await;
    let healed = eventually_ok("the protected role is back", SOON, || async {
        let entry = bench
            .pods_api()
            .get_opt("sample-0-prefill-0-0")
            .await
            .expect("an answer");
        let entry = entry.filter(|pod| pod.uid() != pods["sample-0-prefill-0-0"][0]);
        entry.filter(is_ready).ok_or("not yet")
    })
    .await
    .unwrap();
    let labels = healed.labels();
    assert_eq!(labels[labels::REVISION], REVISIONS[0]);
    let image = healed.spec.as_ref().unwrap().containers[0].image.clone();
    assert_eq!(image.as_deref(), Some("engine:1"));
    let after = bench.sample_stamps().await;
    for (name, stamp) in pods
        .iter()
        .filter(|(name, _)| !name.starts_with("sample-0-prefill-0"))
    {
        assert_eq!(after[name], *stamp, "{name} has nothing to do with it");
    }
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r97_a_rollout_in_the_middle_goes_on_where_it_was() {
    let bench = Bench::new().await;
    let left = Left::install(&bench, &object(3, 1), &[0, 1]).await;
    // The highest ordinal is done; the next one has been deleted and not been made again.
    left.group(0, 0).await;
    left.group(2, 1).await;
    let sample = bench.servings().get("sample").await.unwrap();
    left.settle(status(&sample, [0, 1], [3, 1, 2])).await;
    let before = bench.sample_stamps().await;

    let controller = bench.start();
    let told = bench.ready("sample").await;

    assert_eq!(told.update_revision, REVISIONS[1]);
    let after = bench.sample_stamps().await;
    assert_eq!(after.len(), 12);
    for (name, stamp) in before
        .iter()
        .filter(|(name, _)| name.starts_with("sample-2"))
    {
        assert_eq!(after[name], *stamp, "what is done stays");
    }
    for pod in bench.pods().await {
        assert_eq!(
            pod.labels()[labels::REVISION],
            REVISIONS[1],
            "{}",
            pod.name_any()
        );
    }
    controller.stop().await;
}
