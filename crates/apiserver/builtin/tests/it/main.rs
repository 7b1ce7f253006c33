//! The built-in controllers against a real kube-apiserver that has none of its own; KWOK plays the pods.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kthena_apiserver_builtin::run;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_testkit::{ControlPlane, Part, eventually_ok, objects};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_mins(1);

/// A namespace of its own with the controllers running.
struct Scene {
    client: Client,
    namespace: String,
    controllers: Option<(JoinHandle<()>, CancellationToken)>,
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Scene {
    async fn new(namespace: &str) -> Self {
        let plane = ControlPlane::shared(&[Part::Scheduler, Part::Kwok])
            .await
            .unwrap();
        plane.add_kwok_nodes(1).await.unwrap();
        Self::on(plane.client().await.unwrap(), namespace).await
    }

    async fn on(client: Client, namespace: &str) -> Self {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace_object = typed(objects::namespace(namespace));
        namespaces
            .create(&PostParams::default(), &namespace_object)
            .await
            .unwrap();
        let mut scene = Self {
            client,
            namespace: namespace.to_owned(),
            controllers: None,
        };
        scene.start();
        scene
    }

    fn start(&mut self) {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(self.client.clone(), shutdown.clone()));
        self.controllers = Some((task, shutdown));
    }

    async fn stop(&mut self) {
        if let Some((task, shutdown)) = self.controllers.take() {
            shutdown.cancel();
            task.await.unwrap();
        }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn deploy(&self, deployment: Value) {
        self.deployments()
            .create(&PostParams::default(), &typed(deployment))
            .await
            .unwrap();
    }

    async fn change(&self, patch: Value) {
        self.deployments()
            .patch("web", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until the Deployment reports `replicas` pods of its present template and no others.
    async fn complete(&self, replicas: i32) {
        let api = self.deployments();
        let settled = eventually_ok("the rollout is complete", DEADLINE, || async {
            let deployment = api.get("web").await.map_err(|error| error.to_string())?;
            let status = deployment.status.clone().unwrap_or_default();
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.ready_replicas,
                status.available_replicas,
            ];
            let seen = status.observed_generation == deployment.metadata.generation;
            let whole = counts.iter().all(|count| count.unwrap_or(0) == replicas);
            if seen && whole {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        });
        settled.await.unwrap();
    }

    async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods = api.list(&ListParams::default()).await.unwrap().items;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect()
    }

    async fn sets(&self) -> Vec<ReplicaSet> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        api.list(&ListParams::default()).await.unwrap().items
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some((task, _)) = &self.controllers {
            task.abort();
        }
    }
}

fn image(pod: &Pod) -> String {
    pod.spec.as_ref().unwrap().containers[0]
        .image
        .clone()
        .unwrap()
}

#[tokio::test]
async fn a_deployment_comes_up_scales_rolls_and_heals() {
    let mut scene = Scene::new("rolls").await;
    scene.deploy(objects::deployment("web", 3, "one")).await;
    scene.complete(3).await;

    scene.change(json!({"spec": {"replicas": 5}})).await;
    scene.complete(5).await;
    scene.change(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}})).await;
    scene.complete(5).await;
    assert!(scene.pods().await.iter().all(|pod| image(pod) == "two"));
    let revisions = scene
        .deployments()
        .get("web")
        .await
        .unwrap()
        .metadata
        .annotations
        .unwrap();
    assert_eq!(revisions["deployment.kubernetes.io/revision"], "2");

    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let victim = scene.pods().await[0].metadata.name.clone().unwrap();
    pods.delete(&victim, &DeleteParams::default())
        .await
        .unwrap();
    let healed = eventually_ok("the lost pod is replaced", DEADLINE, || async {
        let names: Vec<_> = scene
            .pods()
            .await
            .into_iter()
            .filter_map(|pod| pod.metadata.name)
            .collect();
        if names.len() == 5 && !names.contains(&victim) {
            Ok(())
        } else {
            Err(names)
        }
    });
    healed.await.unwrap();
    scene.complete(5).await;

    scene.change(json!({"spec": {"replicas": 1}})).await;
    scene.complete(1).await;
    scene.stop().await;
}

#[tokio::test]
async fn old_pods_end_before_new_ones_start_when_recreating() {
    let mut scene = Scene::new("recreates").await;
    let mut deployment = objects::deployment("web", 2, "one");
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    scene.deploy(deployment).await;
    scene.complete(2).await;

    scene.change(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}})).await;
    scene.complete(2).await;

    let pods = scene.pods().await;
    assert_eq!(pods.iter().map(image).collect::<Vec<_>>(), ["two", "two"]);
    scene.stop().await;
}

#[tokio::test]
async fn a_rollout_goes_on_after_a_restart_of_the_controllers() {
    let mut scene = Scene::new("restarts").await;
    scene.deploy(objects::deployment("web", 4, "one")).await;
    scene.complete(4).await;
    scene.stop().await;

    scene.change(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}})).await;
    scene.change(json!({"spec": {"replicas": 6}})).await;
    scene.start();
    scene.complete(6).await;

    assert_eq!(scene.sets().await.len(), 2);
    assert_eq!(scene.pods().await.len(), 6);
    scene.stop().await;
}

#[tokio::test]
async fn a_service_lists_its_pods_and_follows_them() {
    let mut scene = Scene::new("slices").await;
    let services: Api<Service> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(scene.client.clone(), &scene.namespace);
    services
        .create(
            &PostParams::default(),
            &typed(objects::service("web", 8000)),
        )
        .await
        .unwrap();
    scene.deploy(objects::deployment("web", 3, "one")).await;
    let listed = async |count: usize| {
        let listed = eventually_ok("the slice lists ready pods", DEADLINE, || async {
            let slices = slices
                .list(&ListParams::default().labels("kubernetes.io/service-name=web"))
                .await;
            let slices = slices.map_err(|error| error.to_string())?.items;
            let endpoints = slices
                .iter()
                .flat_map(|slice| slice.endpoints.iter().flatten());
            let ready = endpoints.filter(|one| {
                one.conditions
                    .as_ref()
                    .is_some_and(|c| c.ready == Some(true))
            });
            let ports: Vec<_> = slices
                .iter()
                .flat_map(|slice| slice.ports.iter().flatten())
                .collect();
            let right = ports
                .iter()
                .all(|port| port.port == Some(8000) && port.name.as_deref() == Some("http"));
            let ready = ready.count();
            if ready == count && right {
                Ok(())
            } else {
                Err(format!("{ready} ready, {ports:?}"))
            }
        });
        listed.await.unwrap();
    };

    listed(3).await;
    scene.change(json!({"spec": {"replicas": 1}})).await;
    listed(1).await;
    scene.change(json!({"spec": {"replicas": 0}})).await;
    listed(0).await;
    scene.stop().await;
}

/// Makes every pod ready as soon as it is seen, as a node would.
async fn play_node(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events =
        kube::runtime::watcher(pods, kube::runtime::watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else {
            continue;
        };
        let done = pod
            .status
            .as_ref()
            .is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if done || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let own: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let conditions = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let status =
            json!({"status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": conditions}});
        let patched = own
            .patch_status(
                &pod.name_any(),
                &PatchParams::default(),
                &Patch::Merge(status),
            )
            .await;
        // It may have been deleted in the meantime.
        assert!(
            patched.is_ok() || own.get_opt(&pod.name_any()).await.unwrap().is_none(),
            "{patched:?}"
        );
    }
}

#[tokio::test]
async fn a_deployment_rolls_on_the_embedded_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
        .await
        .unwrap();
    let node = tokio::spawn(play_node(server.client()));
    let mut scene = Scene::on(server.client(), "embedded").await;
    scene.deploy(objects::deployment("web", 3, "one")).await;
    scene.complete(3).await;

    scene.change(json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}})).await;
    scene.complete(3).await;

    assert!(scene.pods().await.iter().all(|pod| image(pod) == "two"));
    assert_eq!(scene.sets().await.len(), 2);
    scene
        .deployments()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let gone = eventually_ok(
        "pods and sets follow their Deployment",
        DEADLINE,
        || async {
            let left = (scene.pods().await.len(), scene.sets().await.len());
            if left == (0, 0) { Ok(()) } else { Err(left) }
        },
    );
    gone.await.unwrap();
    scene.stop().await;
    node.abort();
    server.shutdown().await;
}
