//! Makes pods ready as soon as they are there, by writing their status, and ends those that are deleted.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kthena_cluster::watch::Named;
use kthena_cluster::{Change, ObjectKey, Scope, Target, watch_partial, write};
use kube::Client;
use kube::api::{Api, DeleteParams};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

/// Statuses written at the same time.
const PARALLEL: usize = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SparePod {
    metadata: SpareMeta,
    status: SpareStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpareMeta {
    name: String,
    namespace: String,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpareStatus {
    phase: String,
}

impl Named for SparePod {
    fn key(&self) -> ObjectKey {
        ObjectKey::new(self.metadata.namespace.clone(), self.metadata.name.clone())
    }
}

pub(crate) async fn run(client: Client) {
    let target = Target::of::<Pod>();
    let pods = watch_partial::<SparePod>(client.clone(), target.clone(), &Scope::default());
    let mut pods = pin!(pods);
    let open = Arc::new(Semaphore::new(PARALLEL));
    while let Some(change) = pods.next().await {
        let Change::Applied(pod) = change else {
            continue;
        };
        let is_leaving = pod.metadata.deletion_timestamp.is_some();
        if pod.status.phase == "Running" && !is_leaving {
            continue;
        }
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
            return;
        };
        let (client, target) = (client.clone(), target.clone());
        tokio::spawn(async move {
            if is_leaving {
                finish(client, &pod).await;
                return drop(permit);
            }
            let ready = json!({ "status": {
                "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
            } });
            // It may be gone by now.
            let _ = write::merge_patch(&client, &target, &pod.key(), Some("status"), &ready).await;
            drop(permit);
        });
    }
}

/// Takes a pod away whose deletion was left half done: the server gives up a request whose client is killed.
async fn finish(client: Client, pod: &SparePod) {
    let pods: Api<Pod> = Api::namespaced(client, &pod.metadata.namespace);
    let now = DeleteParams::default().grace_period(0);
    // It may be gone by now.
    let _ = pods.delete(&pod.metadata.name, &now).await;
}
