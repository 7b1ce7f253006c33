//! Binds pods that no scheduler has taken, for a node that is the only one of its machine.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kthena_cluster::events::Severity;
use kthena_cluster::{ObjectKey, Scope, Store, watch};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::shared::{Shared, key, uid};
use crate::machine::request::{Amount, of_pod};

/// Between two looks at pods that do not fit, should a change go unnoticed.
const AGAIN: Duration = Duration::from_secs(30);

/// Pods that are waiting, and what was last said about each.
struct Binder {
    shared: Arc<Shared>,
    labels: BTreeMap<String, String>,
    said: BTreeMap<String, String>,
}

/// Binds until told to stop.
pub(crate) async fn run(
    shared: Arc<Shared>,
    labels: BTreeMap<String, String>,
    shutdown: CancellationToken,
) {
    let scope = Scope {
        fields: Some("spec.nodeName=".to_owned()),
        ..Scope::default()
    };
    let mut changes = std::pin::pin!(watch::<Pod>(shared.client.clone(), &scope));
    let mut store: Store<Pod> = Store::default();
    let mut binder = Binder {
        shared: Arc::clone(&shared),
        labels,
        said: BTreeMap::new(),
    };
    loop {
        let freed = shared.changed.notified();
        tokio::select! {
            () = shutdown.cancelled() => return,
            change = changes.next() => match change {
                Some(change) => { store.apply(&change); }
                None => return,
            },
            () = freed => {}
            () = tokio::time::sleep(AGAIN), if !store.is_empty() => {}
        }
        // Changes that came together are looked at together.
        while let Some(Some(change)) = futures::FutureExt::now_or_never(changes.next()) {
            store.apply(&change);
        }
        if store.is_synced() {
            binder.bind_all(&store).await;
        }
    }
}

impl Binder {
    async fn bind_all(&mut self, store: &Store<Pod>) {
        let mut waiting: Vec<&Arc<Pod>> = store
            .iter()
            .map(|(_, pod)| pod)
            .filter(|pod| is_waiting(pod))
            .collect();
        waiting.sort_by_key(|pod| {
            let priority = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.priority)
                .unwrap_or(0);
            (
                Reverse(priority),
                pod.metadata.creation_timestamp.clone(),
                pod.metadata.name.clone(),
            )
        });
        self.said.retain(|uid, _| {
            waiting
                .iter()
                .any(|pod| pod.metadata.uid.as_ref() == Some(uid))
        });
        for pod in waiting {
            match self.obstacle(pod) {
                None => self.bind(pod).await,
                Some(reason) => self.refuse(pod, reason).await,
            }
        }
    }

    /// Why the pod cannot be here now.
    fn obstacle(&self, pod: &Pod) -> Option<String> {
        let spec = pod.spec.as_ref()?;
        if !selects(spec, &self.labels) {
            return Some(
                "0/1 nodes are available: the node does not have the labels of nodeSelector"
                    .to_owned(),
            );
        }
        let holdings = self.shared.holdings();
        if holdings.used.contains_key(uid(pod)) {
            return None;
        }
        let used = holdings
            .used
            .values()
            .copied()
            .fold(Amount::default(), Amount::plus);
        of_pod(pod)
            .fits(self.shared.config.capacity, used)
            .err()
            .map(|shortage| shortage.to_string())
    }

    async fn bind(&mut self, pod: &Arc<Pod>) {
        let uid = uid(pod).to_owned();
        // Taken before the server knows, so that the next pod does not get it too.
        if self
            .shared
            .holdings()
            .used
            .insert(uid.clone(), of_pod(pod))
            .is_some()
        {
            return;
        }
        let ObjectKey { namespace, name } = key(pod);
        let node = &self.shared.config.name;
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.clone()),
                ..ObjectReference::default()
            },
        };
        let result = self.post(&namespace, &name, &binding).await;
        match result {
            Ok(()) => {
                let message = format!("assigned {namespace}/{name} to {node}");
                self.shared
                    .tell(pod, Severity::Normal, "Scheduled", &message);
            }
            Err(error) => {
                tracing::debug!(%error, namespace, name, "not bound");
                self.shared.holdings().used.remove(&uid);
            }
        }
    }

    async fn post(
        &self,
        namespace: &str,
        name: &str,
        binding: &Binding,
    ) -> Result<(), kube::Error> {
        let request = http::Request::post(format!(
            "/api/v1/namespaces/{namespace}/pods/{name}/binding"
        ))
        .header(http::header::CONTENT_TYPE, "application/json");
        let body = serde_json::to_vec(binding).map_err(kube::Error::SerdeError)?;
        let request = request.body(body).map_err(kube::Error::HttpError)?;
        self.shared.client.request_text(request).await.map(drop)
    }

    async fn refuse(&mut self, pod: &Arc<Pod>, reason: String) {
        if self.said.get(uid(pod)) == Some(&reason) {
            return;
        }
        let before = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let before = before
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled");
        let since = before.filter(|condition| condition.status == "False");
        let now = || Time(jiff::Timestamp::now());
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some(reason.clone()),
            last_transition_time: since
                .and_then(|one| one.last_transition_time.clone())
                .or_else(|| Some(now())),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        };
        let ObjectKey { namespace, name } = key(pod);
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &namespace);
        let patch =
            json!({ "metadata": { "uid": uid(pod) }, "status": { "conditions": [condition] } });
        match api
            .patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch))
            .await
        {
            Ok(_) => {
                self.shared
                    .tell(pod, Severity::Warning, "FailedScheduling", &reason);
                self.said.insert(uid(pod).to_owned(), reason);
            }
            Err(error) => tracing::debug!(%error, namespace, name, "condition not written"),
        }
    }
}

fn is_waiting(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let gated = spec.is_some_and(|spec| {
        spec.scheduling_gates
            .as_ref()
            .is_some_and(|gates| !gates.is_empty())
    });
    let bound =
        spec.is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
    let over = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none()
        && !gated
        && !bound
        && !matches!(over, Some("Failed" | "Succeeded"))
}

fn selects(spec: &PodSpec, labels: &BTreeMap<String, String>) -> bool {
    spec.node_selector
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
}
