//! `LeaderWorkerSet`s on a real kube-apiserver, served by `ModelServing`s whose pods KWOK plays.

use std::collections::BTreeSet;
use std::process::Stdio;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_api::model_serving::ModelServing;
use kthena_controllers_leader_worker_set::{DEFINITION, LeaderWorkerSet, LeaderWorkerSetStatus};
use kthena_testkit::control_plane::kubectl;
use kthena_testkit::{ControlPlane, Part, crds, eventually, eventually_ok};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::fixture::{Bench, SOON, role, serving};

/// Parts of the shared control plane.
pub(crate) const PARTS: [Part; 3] = [Part::ControllerManager, Part::Scheduler, Part::Kwok];

/// A set of groups of `size` pods.
pub(crate) fn set(name: &str, replicas: i32, size: i32) -> Value {
    json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": { "size": size, "workerTemplate": { "spec": {
                "containers": [{ "name": "engine", "image": "engine:1" }],
            } } },
        },
    })
}

/// Sets of one namespace.
pub(crate) struct SetBench {
    pub(crate) bench: Bench,
}

impl SetBench {
    pub(crate) async fn new() -> Self {
        let bench = Bench::new().await;
        crds::install(&bench.client, &[crds::leader_worker_set()])
            .await
            .expect("a definition");
        Self { bench }
    }

    fn collection(&self) -> String {
        format!(
            "/apis/leaderworkerset.x-k8s.io/v1/namespaces/{}/leaderworkersets",
            self.bench.namespace
        )
    }

    pub(crate) async fn apply(&self, set: &Value) {
        let name = set["metadata"]["name"].as_str().expect("a name");
        let request = Request::new(self.collection())
            .patch(
                name,
                &PatchParams::apply("test").force(),
                &Patch::Apply(set),
            )
            .expect("a request");
        self.bench
            .client
            .request_text(request)
            .await
            .expect("applied");
    }

    pub(crate) async fn merge(&self, name: &str, part: &str, patch: Value) {
        let url = format!("{}/{name}{part}", self.collection());
        let request = http::Request::patch(url)
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(&patch).expect("JSON"))
            .expect("a request");
        self.bench
            .client
            .request_text(request)
            .await
            .expect("patched");
    }

    pub(crate) async fn delete(&self, name: &str) {
        let request = Request::new(self.collection())
            .delete(name, &DeleteParams::foreground())
            .expect("a request");
        self.bench
            .client
            .request_text(request)
            .await
            .expect("deleted");
    }

    async fn raw(&self, name: &str) -> Result<Value, String> {
        let request = Request::new(self.collection())
            .get(name, &kube::api::GetParams::default())
            .expect("a request");
        let found = self.bench.client.request::<Value>(request).await;
        found.map_err(|error| error.to_string())
    }

    pub(crate) async fn get(&self, name: &str) -> Result<LeaderWorkerSet, String> {
        serde_json::from_value(self.raw(name).await?).map_err(|error| error.to_string())
    }

    /// Waits until all groups of the newest form of the set are ready and its status says so.
    pub(crate) async fn ready(&self, name: &str) -> LeaderWorkerSetStatus {
        eventually_ok(&format!("{name} is ready"), SOON, || async {
            let set = self.get(name).await?;
            let status = set.status.clone().unwrap_or_default();
            let wanted = set.spec.replicas.unwrap_or(1);
            let counts = [
                status.replicas,
                status.ready_replicas,
                status.updated_replicas,
            ];
            let available = condition(&status, "Available");
            let is_current = available["status"] == "True"
                && available["observedGeneration"] == json!(set.metadata.generation);
            if counts == [wanted; 3] && is_current {
                Ok(status)
            } else {
                Err(format!("{status:?}, pods {:?}", self.bench.live().await))
            }
        })
        .await
        .expect("ready")
    }

    /// Waits for a condition that is true.
    async fn told(&self, name: &str, kind: &str) -> Value {
        eventually_ok(&format!("{kind} of {name}"), SOON, || async {
            let status = self.get(name).await?.status.unwrap_or_default();
            let found = condition(&status, kind);
            if found["status"] == "True" {
                Ok(found)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
        .expect("a condition")
    }

    /// Waits until an event of this reason tells of the set, and answers with what it says.
    async fn event(&self, name: &str, reason: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.bench.client.clone(), &self.bench.namespace);
        eventually_ok(&format!("event {reason} of {name}"), SOON, || async {
            let events = api
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let about = events.items.iter().filter(|event| {
                event.involved_object.kind.as_deref() == Some("LeaderWorkerSet")
                    && event.involved_object.name.as_deref() == Some(name)
            });
            let reasons: Vec<_> = about.clone().map(|event| event.reason.clone()).collect();
            let found: Vec<_> = about
                .filter(|event| event.reason.as_deref() == Some(reason))
                .filter_map(|event| event.message.clone())
                .collect();
            if found.is_empty() {
                Err(format!("{reasons:?}"))
            } else {
                Ok(found)
            }
        })
        .await
        .expect("an event")
    }

    async fn serving(&self, name: &str) -> Option<ModelServing> {
        self.bench
            .servings()
            .get_opt(name)
            .await
            .expect("an answer")
    }
}

fn condition(status: &LeaderWorkerSetStatus, kind: &str) -> Value {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == kind);
    serde_json::to_value(found).expect("JSON")
}

fn images(pods: &[Pod]) -> BTreeSet<String> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    { specs }
        .filter_map(|spec| spec.containers[0].image.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r87_r88_a_set_lives_scales_rolls_and_goes() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    sets.apply(&set("llama", 2, 2)).await;

    let status = sets.ready("llama").await;

    let owner = &sets
        .serving("llama")
        .await
        .expect("made")
        .owner_references()[0]
        .clone();
    let uid = sets.get("llama").await.expect("the set").uid();
    assert_eq!(
        (owner.kind.as_str(), Some(&owner.uid), owner.controller),
        ("LeaderWorkerSet", uid.as_ref(), Some(true))
    );
    let leaders = ListParams::default().labels(&status.hpa_pod_selector);
    let leaders = sets.bench.pods_api().list(&leaders).await.expect("pods");
    let names: Vec<_> = leaders.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["llama-0-default-0-0", "llama-1-default-0-0"]);
    assert_variables(&leaders.items[1], &sets.bench.namespace);
    sets.event("llama", "ModelServingCreated").await;

    let two = json!({ "spec": { "replicas": 3 } });
    sets.merge("llama", "/scale", two).await;
    sets.ready("llama").await;
    assert_eq!(sets.bench.live().await.len(), 6);

    let image = json!([{ "name": "engine", "image": "engine:2" }]);
    let template = json!({ "workerTemplate": { "spec": { "containers": image } } });
    sets.merge(
        "llama",
        "",
        json!({ "spec": { "leaderWorkerTemplate": template } }),
    )
    .await;
    sets.ready("llama").await;
    let expected = BTreeSet::from(["engine:2".to_owned()]);
    assert_eq!(images(&sets.bench.pods().await), expected);

    sets.delete("llama").await;
    eventually("the set is gone", SOON, || async {
        sets.get("llama").await.is_err().then_some(())
    })
    .await
    .expect("gone");
    sets.bench.only(&[]).await;
    assert_eq!(sets.serving("llama").await, None);
    controller.stop().await;
}

/// The variables that images for `LeaderWorkerSet`s read.
fn assert_variables(leader: &Pod, namespace: &str) {
    let container = &leader.spec.as_ref().expect("a spec").containers[0];
    let variables = container.env.clone().unwrap_or_default();
    let value = |name: &str| {
        let found = variables.iter().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.clone())
    };
    assert_eq!(
        value("LWS_LEADER_ADDRESS"),
        Some(format!("{}.{namespace}", leader.name_any()))
    );
    assert_eq!(value("LWS_GROUP_SIZE"), Some("2".to_owned()));
    assert_eq!(value("LWS_WORKER_INDEX"), Some("0".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_shows_how_a_set_does() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    sets.apply(&set("shown", 2, 1)).await;
    sets.ready("shown").await;
    let plane = ControlPlane::shared(&PARTS).await.expect("the same plane");

    let output = kubectl()
        .expect("kubectl")
        .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
        .args(["get", "lws", "-n", &sets.bench.namespace])
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");

    let text = String::from_utf8(output.stdout).expect("text");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "READY", "DESIRED", "UP-TO-DATE", "AGE"]);
    assert_eq!(rows[1][..4], ["shown", "2", "2", "2"]);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r88_drift_is_mended_and_a_deleted_model_serving_comes_back() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    sets.apply(&set("drift", 1, 1)).await;
    sets.ready("drift").await;

    let changed = json!({ "spec": { "replicas": 4, "rolloutStrategy": {
        "type": "ServingGroupRollingUpdate", "paused": true,
    } } });
    sets.bench.merge("drift", changed).await;
    let mended = eventually("the count is mended", SOON, || async {
        let serving = sets.serving("drift").await?;
        (serving.spec.replicas == Some(1)).then_some(serving)
    })
    .await
    .expect("mended");
    let strategy = mended.spec.rollout_strategy.expect("a strategy");
    assert_eq!(strategy.paused, Some(true), "that is the user's");

    sets.bench
        .servings()
        .delete("drift", &DeleteParams::default())
        .await
        .expect("deleted");
    eventually("another one is there", SOON, || async {
        let serving = sets.serving("drift").await?;
        (serving.uid() != mended.metadata.uid).then_some(())
    })
    .await
    .expect("it comes back");
    sets.ready("drift").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r89_a_strangers_model_serving_is_not_touched() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    let stranger = sets
        .bench
        .apply(&serving("taken", 1, &[role("decode", 1, 0)]))
        .await;
    sets.apply(&set("taken", 2, 1)).await;

    let blocked = sets.told("taken", "Blocked").await;

    assert_eq!(blocked["reason"], "NameConflict");
    sets.event("taken", "NameConflict").await;
    let untouched = sets.serving("taken").await.expect("there");
    assert_eq!(untouched.spec, stranger.spec);
    assert_eq!(untouched.metadata.owner_references, None);

    let delete = DeleteParams::default();
    sets.bench
        .servings()
        .delete("taken", &delete)
        .await
        .expect("deleted");
    sets.ready("taken").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r89_a_set_that_its_own_controller_serves_is_left_alone() {
    let sets = SetBench::new().await;
    sets.apply(&set("served", 1, 1)).await;
    let set_uid = sets.get("served").await.expect("the set").uid();
    let made = json!({
        "metadata": { "name": "served", "ownerReferences": [{
            "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "served",
            "uid": set_uid, "controller": true, "blockOwnerDeletion": true,
        }] },
        "spec": {
            "serviceName": "served", "replicas": 0, "selector": { "matchLabels": { "a": "b" } },
            "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "engine", "image": "engine:1" }] },
            },
        },
    });
    let made: StatefulSet = serde_json::from_value(made).expect("a StatefulSet");
    let api: Api<StatefulSet> = Api::namespaced(sets.bench.client.clone(), &sets.bench.namespace);
    let params = PostParams::default();
    api.create(&params, &made).await.expect("created");
    let before = sets.raw("served").await.expect("the set");

    let controller = sets.bench.start();
    sets.apply(&set("unserved", 1, 1)).await;
    sets.ready("unserved").await;

    // There is one worker, and it has come to the other set, whose key is the later one.
    assert_eq!(sets.serving("served").await, None);
    assert_eq!(sets.raw("served").await.expect("the set"), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_told_with_a_way_out() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    let mut asking = set("asking", 1, 1);
    asking["spec"]["startupPolicy"] = json!("LeaderReady");
    asking["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] = json!({ "subGroupSize": 1 });
    sets.apply(&asking).await;

    let condition = sets.told("asking", "UnsupportedFields").await;

    let message = condition["message"].as_str().expect("text");
    for part in ["spec.startupPolicy", "subGroupPolicy", "LWS_LEADER_ADDRESS"] {
        assert!(message.contains(part), "{message}");
    }
    let events = sets.event("asking", "UnsupportedField").await;
    assert!(!events.is_empty());
    sets.ready("asking").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_model_serving_is_told_and_tried_again() {
    let sets = SetBench::new().await;
    let controller = sets.bench.start();
    let mut odd = set("odd", 1, 1);
    let limits = json!({ "maxSurge": { "no": "number" } });
    odd["spec"]["rolloutStrategy"] = json!({ "rollingUpdateConfiguration": limits });
    sets.apply(&odd).await;

    let blocked = sets.told("odd", "Blocked").await;

    assert_eq!(blocked["reason"], "ModelServingRefused");
    let message = blocked["message"].as_str().expect("text");
    assert!(message.contains("maxSurge"), "{message}");
    sets.event("odd", "FailedCreate").await;

    let better = json!({ "spec": { "rolloutStrategy": null } });
    sets.merge("odd", "", better).await;
    let status = sets.ready("odd").await;
    assert_eq!(condition(&status, "Blocked")["status"], "False");
    controller.stop().await;
}

/// A control plane of its own: its definitions come and go.
#[tokio::test(flavor = "multi_thread")]
async fn r86_the_kind_may_appear_and_go_at_any_time() {
    let plane = ControlPlane::start(&PARTS).await.expect("a control plane");
    let client = plane.client().await.expect("a client");
    plane.add_kwok_nodes(2).await.expect("nodes");
    let ours: Vec<CustomResourceDefinition> = kthena_api::crd::all()
        .into_iter()
        .map(|definition| serde_json::from_value(definition).expect("a definition"))
        .collect();
    crds::install(&client, &ours).await.expect("definitions");
    let sets = SetBench {
        bench: Bench {
            client: client.clone(),
            namespace: "default".to_owned(),
        },
    };
    let controller = sets.bench.start();
    sets.bench
        .apply(&serving("plain", 1, &[role("decode", 1, 0)]))
        .await;
    sets.bench.ready("plain").await;

    for round in ["first", "second"] {
        crds::install(&client, &[crds::leader_worker_set()])
            .await
            .expect("a definition");
        sets.apply(&set(round, 1, 1)).await;
        sets.ready(round).await;
        remove_definition(&client).await;
        let replicas = if round == "first" { 2 } else { 1 };
        let scaled = json!({ "spec": { "replicas": replicas } });
        sets.bench.merge("plain", scaled).await;
        sets.bench.ready("plain").await;
    }
    controller.stop().await;
}

async fn remove_definition(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = DeleteParams::default();
    api.delete(DEFINITION, &params).await.expect("deleted");
    eventually("the definition is gone", SOON, || async {
        let found = api.get_opt(DEFINITION).await.ok()?;
        found.is_none().then_some(())
    })
    .await
    .expect("gone");
}
