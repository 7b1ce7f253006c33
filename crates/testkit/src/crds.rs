//! Custom resource definitions that a server needs before objects of their kinds can be made.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::eventually::{TimedOut, eventually};

/// How long a definition may take to be served.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Why definitions could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The server refused a definition.
    #[error("cannot apply the definition {name}")]
    Apply {
        /// Name of the definition.
        name: String,
        /// What the server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A definition was accepted but never served.
    #[error(transparent)]
    NotEstablished(#[from] TimedOut),
}

/// Applies `definitions` and waits until the server serves each of them.
pub async fn install(
    client: &Client,
    definitions: &[CustomResourceDefinition],
) -> Result<(), CrdError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply("kthena-testkit").force();
    for definition in definitions {
        let name = definition.name_any();
        let applied = api.patch(&name, &apply, &Patch::Apply(definition)).await;
        applied.map_err(|source| CrdError::Apply {
            name,
            source: Box::new(source),
        })?;
    }
    for definition in definitions {
        let name = definition.name_any();
        let what = format!("definition {name} is established");
        eventually(&what, ESTABLISHED_WITHIN, || established(&api, &name)).await?;
    }
    Ok(())
}

async fn established(api: &Api<CustomResourceDefinition>, name: &str) -> Option<()> {
    let status = api.get(name).await.ok()?.status?;
    let conditions = status.conditions.unwrap_or_default();
    conditions
        .iter()
        .any(|c| c.type_ == "Established" && c.status == "True")
        .then_some(())
}

/// Volcano's `PodGroup`, reduced to what our controllers read and write.
pub fn pod_group() -> CustomResourceDefinition {
    let raw = definition(
        "scheduling.volcano.sh",
        "v1beta1",
        "PodGroup",
        "podgroups",
        &["pg"],
    );
    typed(raw)
}

/// `LeaderWorkerSet`: names, columns, subresources and defaults of its project's definition; other fields all pass.
pub fn leader_worker_set() -> CustomResourceDefinition {
    let mut raw = definition(
        "leaderworkerset.x-k8s.io",
        "v1",
        "LeaderWorkerSet",
        "leaderworkersets",
        &["lws"],
    );
    let version = &mut raw["spec"]["versions"][0];
    version["subresources"]["scale"] = json!({
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.hpaPodSelector",
    });
    let count = |name: &str, path: &str| json!({"name": name, "type": "integer", "jsonPath": path});
    version["additionalPrinterColumns"] = json!([
        count("Ready", ".status.readyReplicas"),
        count("Desired", ".spec.replicas"),
        count("Up-to-date", ".status.updatedReplicas"),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    let integer = json!({"type": "integer", "format": "int32"});
    let counted = json!({"type": "integer", "format": "int32", "default": 1});
    let chosen = |default: &str| json!({"type": "string", "default": default});
    let properties = &mut version["schema"]["openAPIV3Schema"]["properties"];
    properties["spec"]["required"] = json!(["leaderWorkerTemplate"]);
    properties["spec"]["properties"] = json!({
        "replicas": counted,
        "startupPolicy": chosen("LeaderCreated"),
        "leaderWorkerTemplate": {
            "type": "object",
            "required": ["workerTemplate"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "size": counted,
                "restartPolicy": chosen("RecreateGroupOnPodRestart"),
                "workerTemplate": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            },
        },
    });
    properties["status"]["properties"] = json!({
        "replicas": integer, "readyReplicas": integer, "updatedReplicas": integer,
        "hpaPodSelector": {"type": "string"},
    });
    typed(raw)
}

/// A namespaced kind with a status subresource and no schema for its fields.
fn definition(group: &str, version: &str, kind: &str, plural: &str, short: &[&str]) -> Value {
    let open: Value = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "shortNames": short},
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    })
}

fn typed(raw: Value) -> CustomResourceDefinition {
    // The value is a constant but for strings, so it always has the shape of a definition.
    serde_json::from_value(raw).unwrap_or_default()
}
