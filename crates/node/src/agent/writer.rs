//! Writes what the node has to say about a pod: its status, and the end of its object.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kthena_cluster::ObjectKey;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// The server has it.
    Yes,
    /// The object is gone or another one: there is nothing to write to.
    Moot,
    /// Try again.
    No,
}

/// Fields of a status that the node owns: one that it does not set is removed.
const OWNED: [&str; 11] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    "observedGeneration",
];

/// The difference a status makes to what is shown; `None` if it makes none.
pub(crate) fn difference(
    shown: Option<&PodStatus>,
    wanted: &PodStatus,
) -> Option<Map<String, Value>> {
    let before = shown
        .and_then(|status| serde_json::to_value(status).ok())
        .unwrap_or(Value::Null);
    let after = serde_json::to_value(wanted).ok()?;
    let mut patch = Map::new();
    for field in OWNED {
        let (old, new) = (before.get(field), after.get(field));
        if old != new {
            patch.insert(field.to_owned(), new.cloned().unwrap_or(Value::Null));
        }
    }
    let old: Vec<&Value> = before
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let new = after
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let turned: Vec<Value> = new
        .filter(|condition| !old.contains(condition))
        .cloned()
        .collect();
    if !turned.is_empty() {
        patch.insert("conditions".to_owned(), Value::Array(turned));
    }
    (!patch.is_empty()).then_some(patch)
}

/// Writes a difference, provided the pod still is the one of that uid.
pub(crate) async fn write(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
    difference: Map<String, Value>,
) -> Written {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let patch = json!({ "metadata": { "uid": uid }, "status": difference });
    let result = pods
        .patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    match result {
        // Another uid, or a burst of other writers: the watch will tell which.
        Err(kube::Error::Api(status)) if status.code == 409 => Written::No,
        other => judge(other.map(drop), key),
    }
}

/// Removes the object of a pod that has ended; finalizers hold it as they do everywhere.
pub(crate) async fn delete(client: &Client, key: &ObjectKey, uid: &str) -> Written {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let preconditions = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    judge(pods.delete(&key.name, &params).await.map(drop), key)
}

fn judge(result: Result<(), kube::Error>, key: &ObjectKey) -> Written {
    match result {
        Ok(()) => Written::Yes,
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Written::Moot,
        Err(kube::Error::Api(status)) if status.code == 422 => {
            tracing::warn!(pod = %key, message = status.message, "the server refuses what the node writes");
            Written::Moot
        }
        Err(error) => {
            tracing::debug!(pod = %key, %error, "a write failed and is tried again");
            Written::No
        }
    }
}
