//! Renders pods.
//!
//! The user's pod spec is passed through as the JSON it is. What we own in a pod is its name, its identity labels,
//! its owner, its scheduler and three environment variables; these win over anything in the template.

use kthena_api::labels;
use kthena_api::model_serving::{PodTemplate, Role};
use serde_json::{Map, Value, json};

use crate::gang;
use crate::names;
use crate::view::ServingView;

/// Which pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodIdentity<'a> {
    pub(crate) group: &'a str,
    pub(crate) role: &'a Role,
    pub(crate) role_id: &'a str,
    /// 0 = entry, then workers.
    pub(crate) index: i32,
    pub(crate) revision: &'a str,
    pub(crate) role_hash: &'a str,
}

impl PodIdentity<'_> {
    pub(crate) fn name(&self) -> String {
        names::pod(self.group, self.role_id, self.index)
    }

    /// The template of this pod; a worker of a role without one has none.
    fn template(&self) -> Option<&PodTemplate> {
        if self.index == 0 {
            Some(&self.role.entry_template)
        } else {
            self.role.worker_template.as_ref()
        }
    }
}

/// Number of pods that an instance of the role can have: workers need a template.
pub(crate) fn renderable(role: &Role) -> i32 {
    if role.worker_template.is_some() {
        role.worker_replicas.max(0).saturating_add(1)
    } else {
        1
    }
}

/// The pod as it is sent to the API server; `None` if the role has no template for it.
pub(crate) fn render(view: &ServingView, identity: &PodIdentity<'_>) -> Option<Value> {
    let template = identity.template()?;
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": identity.name(),
            "namespace": view.namespace(),
            "labels": labels_of(view, identity, template),
            "ownerReferences": [owner_reference(view)],
        },
        "spec": spec_of(view, identity, template),
    });
    let annotations = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.annotations.clone());
    let mut annotations = annotations.unwrap_or_default();
    if gang::is_active(view) {
        annotations.extend([
            (labels::POD_GROUP_NAME.to_owned(), identity.group.to_owned()),
            (labels::TASK_SPEC.to_owned(), identity.role_id.to_owned()),
        ]);
    }
    if !annotations.is_empty() {
        pod["metadata"]["annotations"] = json!(annotations);
    }
    Some(pod)
}

/// Says that an object belongs to the `ModelServing` and goes with it.
pub(crate) fn owner_reference(view: &ServingView) -> Value {
    json!({
        "apiVersion": <kthena_api::model_serving::ModelServing as k8s_openapi::Resource>::API_VERSION,
        "kind": "ModelServing",
        "name": view.name(),
        "uid": view.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn labels_of(
    view: &ServingView,
    identity: &PodIdentity<'_>,
    template: &PodTemplate,
) -> Map<String, Value> {
    let user = template
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    let mut all: Map<String, Value> = user
        .into_iter()
        .map(|(key, value)| (key, Value::String(value)))
        .collect();
    // A worker must not carry an entry label that came with the template either.
    all.retain(|key, _| !labels::IDENTITY.contains(&key.as_str()));
    let identity_labels = [
        (labels::MODEL_SERVING_NAME, view.name()),
        (labels::GROUP_NAME, identity.group),
        (labels::ROLE, &identity.role.name),
        (labels::ROLE_ID, identity.role_id),
        (labels::REVISION, identity.revision),
        (labels::ROLE_TEMPLATE_HASH, identity.role_hash),
    ];
    for (key, value) in identity_labels {
        all.insert(key.to_owned(), Value::from(value));
    }
    if identity.index == 0 {
        all.insert(labels::ENTRY.to_owned(), Value::from("true"));
    }
    all
}

fn spec_of(
    view: &ServingView,
    identity: &PodIdentity<'_>,
    template: &PodTemplate,
) -> Map<String, Value> {
    let mut spec = template.spec.clone().unwrap_or_default();
    if let Some(scheduler) = &view.serving.spec.scheduler_name {
        spec.insert("schedulerName".to_owned(), Value::from(scheduler.as_str()));
    }
    let size = identity.role.worker_replicas.max(0).saturating_add(1);
    let entry = names::pod(identity.group, identity.role_id, 0);
    let variables = [
        (labels::ENV_GROUP_SIZE, size.to_string()),
        (
            labels::ENV_ENTRY_ADDRESS,
            format!("{entry}.{}", view.namespace()),
        ),
        (labels::ENV_WORKER_INDEX, identity.index.to_string()),
    ];
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            add_variables(container, &variables);
        }
    }
    spec
}

/// Ours come first, so that the user's can refer to them as `$(NAME)`.
fn add_variables(container: &mut Map<String, Value>, variables: &[(&str, String); 3]) {
    let mut all: Vec<Value> = variables
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    if let Some(Value::Array(user)) = container.remove("env") {
        let is_ours = |entry: &Value| variables.iter().any(|(name, _)| entry["name"] == *name);
        all.extend(user.into_iter().filter(|entry| !is_ours(entry)));
    }
    container.insert("env".to_owned(), Value::Array(all));
}

#[cfg(test)]
mod tests;
