//! `demo-pod-tweaks`: a runtime class, annotations and environment variables for pods.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{PodPlugin, containers};
use crate::pods::PodIdentity;

pub(super) const NAME: &str = "demo-pod-tweaks";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tweaks {
    runtime_class_name: String,
    annotations: BTreeMap<String, String>,
    env: Vec<Value>,
}

pub(super) fn build(config: &Value) -> Result<Box<dyn PodPlugin>, String> {
    let tweaks: Tweaks =
        serde_json::from_value(config.clone()).map_err(|error| error.to_string())?;
    Ok(Box::new(tweaks))
}

impl PodPlugin for Tweaks {
    fn on_pod_create(&self, _: &PodIdentity<'_>, pod: &mut Value) -> Result<(), String> {
        if !self.runtime_class_name.is_empty() {
            pod["spec"]["runtimeClassName"] = json!(self.runtime_class_name);
        }
        for (key, value) in &self.annotations {
            pod["metadata"]["annotations"][key] = json!(value);
        }
        for container in containers(pod) {
            let variables = container.entry("env").or_insert_with(|| json!([]));
            if let Some(variables) = variables.as_array_mut() {
                variables.extend(self.env.iter().cloned());
            }
        }
        Ok(())
    }
}
