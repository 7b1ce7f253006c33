//! The definitions (CRDs) of the six kinds.
//!
//! [`all`] builds them as JSON; `kthena crds` prints them and `deploy/crds/kthena-crds.yaml` holds them, both by
//! [`yaml`]. [`schemas`] gives the same schemas parsed, for checks without a server.
//!
//! # Invariants
//!
//! - Types, defaults, bounds, list types and rules are those of the published CRDs; descriptions are our own and short.
//! - Pod templates carry the whole `PodSpec` of Kubernetes 1.34 without descriptions, so that all six fit one
//!   client-side apply each.
//!
//! # Where to go next
//!
//! A module per kind; `build` holds the vocabulary, `common` what several kinds share.

mod autoscaling_policy;
mod build;
mod common;
pub mod expand;
mod external_model_provider;
mod model_booster;
mod model_route;
mod model_server;
mod model_serving;
mod schemas;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use schemas::{scale_paths, schema, schemas};

use crate::{NETWORKING_GROUP, VERSION, WORKLOAD_GROUP};

/// One of the six kinds, with its names and schema.
struct Definition {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    columns: Vec<Value>,
    schema: Value,
    scale: Option<Value>,
}

/// All six definitions, sorted by name.
pub fn all() -> Vec<Value> {
    let mut definitions: Vec<Value> = [
        autoscaling_policy::definition(),
        external_model_provider::definition(),
        model_booster::definition(),
        model_route::definition(),
        model_server::definition(),
        model_serving::definition(),
    ]
    .into_iter()
    .map(Definition::into_value)
    .collect();
    definitions.sort_by(|a, b| name(a).cmp(name(b)));
    definitions
}

/// All six definitions as YAML documents.
pub fn yaml() -> String {
    let mut text = String::from("# Made by `kthena crds`. Do not edit.\n");
    for definition in all() {
        // JSON values with text keys always have a YAML form.
        let document = serde_yaml_ng::to_string(&definition).unwrap_or_default();
        text.push_str("---\n");
        text.push_str(&document);
    }
    text
}

fn name(definition: &Value) -> &str {
    definition
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("")
}

impl Definition {
    fn networking(kind: &'static str, plural: &'static str, schema: Value) -> Self {
        Self {
            group: NETWORKING_GROUP,
            kind,
            plural,
            columns: Vec::new(),
            schema,
            scale: None,
        }
    }

    fn workload(kind: &'static str, plural: &'static str, schema: Value) -> Self {
        Self {
            group: WORKLOAD_GROUP,
            kind,
            plural,
            columns: Vec::new(),
            schema,
            scale: None,
        }
    }

    fn columns(mut self, columns: Vec<Value>) -> Self {
        self.columns = columns;
        self
    }

    fn scale(mut self, scale: Value) -> Self {
        self.scale = Some(scale);
        self
    }

    fn into_value(self) -> Value {
        let mut version = json!({
            "name": VERSION,
            "served": true,
            "storage": true,
            "schema": {"openAPIV3Schema": self.schema},
            "subresources": {"status": {}},
        });
        if !self.columns.is_empty() {
            version["additionalPrinterColumns"] = Value::Array(self.columns);
        }
        if let Some(scale) = self.scale {
            version["subresources"]["scale"] = scale;
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", self.plural, self.group)},
            "spec": {
                "group": self.group,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": self.kind.to_lowercase(),
                },
                "scope": "Namespaced",
                "versions": [version],
            },
        })
    }
}
