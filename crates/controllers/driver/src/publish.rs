//! Writes the status and tells events.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use kthena_api::event::{Event, Severity as PlannedSeverity};
use kthena_api::labels;
use kthena_api::model_serving::{ModelServing, ModelServingStatus};
use kthena_cluster::events::{Recorder, Severity, Subject};
use kthena_cluster::write::{self, Written};
use kthena_cluster::{ObjectKey, Target, WriteError};
use kube::Client;
use serde_json::{Map, Value, json};

/// Replaces the stored status. `None` if the object is gone.
///
/// A status is not edited by two parties, so the patch is unconditional but for the uid.
pub(crate) async fn write_status(
    client: &Client,
    serving: &ModelServing,
    key: &ObjectKey,
    status: &ModelServingStatus,
) -> Result<Option<Written>, WriteError> {
    let mut patch = as_map(serde_json::to_value(status)?);
    // What is unset now but was set before must be taken away.
    let stored = serving
        .status
        .as_ref()
        .map(serde_json::to_value)
        .transpose()?;
    for name in stored.map(as_map).unwrap_or_default().keys() {
        patch.entry(name).or_insert(Value::Null);
    }
    let body = json!({ "metadata": { "uid": serving.metadata.uid }, "status": patch });
    let target = Target::of::<ModelServing>();
    match write::merge_patch(client, &target, key, Some("status"), &body).await {
        Ok(stamp) => Ok(Some(stamp)),
        Err(WriteError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Names an object in events.
pub(crate) fn subject<K>(object: &K, key: &ObjectKey) -> Subject
where
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    Subject {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        key: key.clone(),
        uid: object.metadata().uid.clone().unwrap_or_default(),
    }
}

/// Tells the events of a plan. If it failed, only what is wrong: the rest has not happened yet.
pub(crate) fn tell(recorder: &Recorder, subject: &Subject, events: &[Event], has_failed: bool) {
    for event in events {
        let severity = match event.severity {
            PlannedSeverity::Normal => Severity::Normal,
            PlannedSeverity::Warning => Severity::Warning,
        };
        let is_true = !has_failed || event.reason != labels::EVENT_ROLE_CREATING;
        if severity == Severity::Warning || is_true {
            recorder.publish(subject, severity, event.reason, &event.message);
        }
    }
}
