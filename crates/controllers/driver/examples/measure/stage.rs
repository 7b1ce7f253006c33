//! The control plane, and the objects on it.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{ObjectKey, Target, write};
use kthena_testkit::{ControlPlane, Part, crds};
use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::AnyError;
use crate::arguments::{Arguments, Player};
use crate::kubelet;

/// Requests that this program has open at the same time.
const PARALLEL: usize = 8;

/// Where it is played.
pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
    pub(crate) client: Client,
    kubelet: Option<JoinHandle<()>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(kubelet) = &self.kubelet {
            kubelet.abort();
        }
    }
}

impl Stage {
    pub(crate) async fn build(player: Player) -> Result<Self, AnyError> {
        let parts: &[Part] = match player {
            Player::Kwok => &[Part::ControllerManager, Part::Scheduler, Part::Kwok],
            Player::Status => &[],
        };
        let plane = ControlPlane::start(parts).await?;
        let client = plane.client().await?;
        if player == Player::Kwok {
            plane.add_kwok_nodes(16).await?;
        }
        let definitions: Vec<CustomResourceDefinition> = kthena_api::crd::all()
            .into_iter()
            .map(serde_json::from_value)
            .collect::<Result<_, _>>()?;
        crds::install(&client, &definitions).await?;
        let kubelet =
            (player == Player::Status).then(|| tokio::spawn(kubelet::run(client.clone())));
        Ok(Self {
            plane,
            client,
            kubelet,
        })
    }

    /// Creates all `ModelServing`s.
    pub(crate) async fn create(&self, arguments: &Arguments) -> Result<(), AnyError> {
        let target = Target::of::<ModelServing>();
        let created = stream::iter(0..arguments.servings).map(|number| {
            let object = serving(number, arguments);
            let (client, target) = (&self.client, &target);
            async move { write::create(client, target, Some("default"), &object).await }
        });
        created
            .buffer_unordered(PARALLEL)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await?;
        Ok(())
    }

    /// Gives all `ModelServing`s another image.
    pub(crate) async fn update(&self, arguments: &Arguments) -> Result<(), AnyError> {
        let target = Target::of::<ModelServing>();
        let roles = json!({ "spec": { "template": { "roles": roles(arguments, "v0.11.0") } } });
        let patched = stream::iter(0..arguments.servings).map(|number| {
            let key = ObjectKey::new("default", name(number));
            let (client, target, roles) = (&self.client, &target, &roles);
            async move { write::merge_patch(client, target, &key, None, roles).await }
        });
        patched
            .buffer_unordered(PARALLEL)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await?;
        Ok(())
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("serving-{number}")
}

fn roles(arguments: &Arguments, version: &str) -> Value {
    let template = json!({ "spec": { "containers": [{
        "name": "engine", "image": format!("vllm/vllm-openai:{version}"),
        "command": ["sh", "-c", "vllm serve $MODEL --port 8000"],
        "env": [{ "name": "MODEL", "value": "Qwen/Qwen3-8B" }],
        "ports": [{ "containerPort": 8000 }],
        "resources": { "limits": { "cpu": "1", "memory": "1Gi" } },
    }] } });
    let mut role = json!({
        "name": "decode", "replicas": 1, "workerReplicas": arguments.workers, "entryTemplate": template,
    });
    if arguments.workers > 0 {
        role["workerTemplate"] = template;
    }
    json!([role])
}

fn serving(number: usize, arguments: &Arguments) -> Value {
    json!({
        "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing",
        "metadata": { "name": name(number), "namespace": "default" },
        "spec": {
            "replicas": arguments.groups, "schedulerName": "default-scheduler",
            "template": { "roles": roles(arguments, "v0.10.0") },
        },
    })
}
