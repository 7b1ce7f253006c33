//! A namespace of its own on the shared control plane, and a controller that a test can stop and start.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_api::model_serving::{ModelServing, ModelServingStatus};
use kthena_controllers_driver::{DriverConfig, DriverError, run};
use kthena_testkit::{ControlPlane, Part, crds, eventually, eventually_ok, objects};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Generous: the machine may be busy, and a test that passes never waits that long.
pub(crate) const SOON: Duration = Duration::from_mins(1);

static SERIAL: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// A controller that runs in the background.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), DriverError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a clean end");
    }

    /// Ends at once, in the middle of whatever it does.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

/// One role with an entry pod and workers, on nodes that KWOK plays.
pub(crate) fn role(name: &str, replicas: i32, workers: i32) -> Value {
    let template = json!({ "spec": {
        "containers": [{ "name": "engine", "image": "engine:1" }],
    } });
    let mut role = json!({
        "name": name, "replicas": replicas, "workerReplicas": workers, "entryTemplate": template,
    });
    if workers > 0 {
        role["workerTemplate"] = template;
    }
    role
}

/// Gives the first role's templates, as far as there are any, another image.
pub(crate) fn set_image(serving: &mut Value, image: &str) {
    let role = &mut serving["spec"]["template"]["roles"][0];
    for template in ["entryTemplate", "workerTemplate"] {
        if let Some(container) = role
            .get_mut(template)
            .map(|template| &mut template["spec"]["containers"][0])
        {
            container["image"] = json!(image);
        }
    }
}

pub(crate) fn serving(name: &str, replicas: i32, roles: &[Value]) -> Value {
    json!({
        "apiVersion": "workload.serving.volcano.sh/v1alpha1",
        "kind": "ModelServing",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas, "schedulerName": "default-scheduler", "template": { "roles": roles },
        },
    })
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let parts = [Part::ControllerManager, Part::Scheduler, Part::Kwok];
        let plane = ControlPlane::shared(&parts).await.expect("a control plane");
        plane.add_kwok_nodes(4).await.expect("nodes");
        Self::on(plane).await
    }

    /// Where no kubelet is played. KWOK takes all finalizers away from pods that are deleted.
    pub(crate) async fn without_kubelet() -> Self {
        let plane = ControlPlane::shared(&[Part::ControllerManager])
            .await
            .expect("a control plane");
        Self::on(plane).await
    }

    async fn on(plane: &ControlPlane) -> Self {
        let client = plane.client().await.expect("a client");
        let definitions: Vec<CustomResourceDefinition> = kthena_api::crd::all()
            .into_iter()
            .map(|definition| serde_json::from_value(definition).expect("a definition"))
            .collect();
        crds::install(&client, &definitions)
            .await
            .expect("definitions");
        let namespace = format!("it-{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let object: Namespace =
            serde_json::from_value(objects::namespace(&namespace)).expect("a namespace");
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .expect("a new namespace");
        Self { client, namespace }
    }

    pub(crate) fn start(&self) -> Running {
        let stop = CancellationToken::new();
        let config = DriverConfig {
            namespace: Some(self.namespace.clone()),
            host: "test".to_owned(),
            ..DriverConfig::default()
        };
        let task = tokio::spawn(run(self.client.clone(), config, stop.clone()));
        Running { stop, task }
    }

    pub(crate) fn servings(&self) -> Api<ModelServing> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn apply(&self, object: &Value) -> ModelServing {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams::apply("test").force();
        self.servings()
            .patch(name, &params, &Patch::Apply(object))
            .await
            .expect("applied")
    }

    pub(crate) async fn merge(&self, name: &str, patch: Value) {
        self.servings()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("patched");
    }

    /// The message of the first event with this reason.
    pub(crate) async fn event(&self, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(&format!("an event {reason}"), SOON, || async {
            let events = events.list(&ListParams::default()).await.ok()?.items;
            let mut told = events
                .into_iter()
                .filter(|event| event.reason.as_deref() == Some(reason));
            told.next()?.message
        })
        .await
        .expect("an event")
    }

    /// Makes a pod that no controller asked for.
    pub(crate) async fn stranger(&self, metadata: Value) {
        let container = json!({ "name": "engine", "image": "engine:1" });
        let stranger = json!({ "metadata": metadata, "spec": { "containers": [container] } });
        let stranger: Pod = serde_json::from_value(stranger).expect("a pod");
        let made = self
            .pods_api()
            .create(&PostParams::default(), &stranger)
            .await;
        made.expect("the stranger");
    }

    pub(crate) async fn delete_pod(&self, name: &str) {
        self.pods_api()
            .delete(name, &DeleteParams::default())
            .await
            .expect("deleted");
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        let mut pods = self
            .pods_api()
            .list(&ListParams::default())
            .await
            .expect("pods")
            .items;
        pods.sort_by_key(ResourceExt::name_any);
        pods
    }

    /// Names of the pods that are not on their way out.
    pub(crate) async fn live(&self) -> Vec<String> {
        let pods = self.pods().await;
        let live = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        live.map(ResourceExt::name_any).collect()
    }

    pub(crate) async fn services(&self) -> Vec<String> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let services = api.list(&ListParams::default()).await.expect("services");
        let mut names: Vec<_> = services.items.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    pub(crate) async fn status(&self, name: &str) -> ModelServingStatus {
        self.servings()
            .get_status(name)
            .await
            .expect("a status")
            .status
            .unwrap_or_default()
    }

    /// Waits until the status says that all of the newest spec is there, and answers with it.
    pub(crate) async fn ready(&self, name: &str) -> ModelServingStatus {
        eventually_ok(&format!("{name} is ready"), SOON, || async {
            let object = self
                .servings()
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let status = object.status.clone().unwrap_or_default();
            let wanted = object.spec.replicas.unwrap_or(1);
            let is_ready = Some(status.observed_generation) == object.metadata.generation
                && [
                    status.replicas,
                    status.available_replicas,
                    status.updated_replicas,
                ] == [wanted; 3];
            if is_ready {
                Ok(status)
            } else {
                Err(format!("{status:?}, pods {:?}", self.live().await))
            }
        })
        .await
        .expect("ready")
    }

    /// Waits until exactly these pods are there, none of them on its way out.
    pub(crate) async fn only(&self, expected: &[&str]) {
        eventually_ok("exactly the expected pods", SOON, || async {
            let names: Vec<_> = self
                .pods()
                .await
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            if names == expected {
                Ok(())
            } else {
                Err(names)
            }
        })
        .await
        .expect("the expected pods");
    }
}
