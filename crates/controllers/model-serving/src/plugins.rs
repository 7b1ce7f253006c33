//! What may change a pod before it is created.
//!
//! `spec.plugins` names plugins in the order in which they see each pod; each sees what the one before it made. One
//! that is unknown, or that cannot read its configuration, keeps pods from being created: a user who asked for it
//! would rather have no pod than one without it.
//!
//! # Invariants
//!
//! - A plugin cannot change what a pod is: its name, namespace, owner and identity labels.
//!
//! # Where to go next
//!
//! A module per plugin, registered in [`build`].

mod demo_pod_tweaks;
mod lws_standard_labels;

use kthena_api::labels;
use kthena_api::model_serving::{PluginScope, PluginSpec};
use serde_json::{Map, Value};

use crate::pods::PodIdentity;
use crate::view::ServingView;

/// The only kind of plugin.
const BUILT_IN: &str = "BuiltIn";

/// Changes pods before they are created.
trait PodPlugin: std::fmt::Debug {
    /// Changes `pod`, or says why it must not be created.
    fn on_pod_create(&self, identity: &PodIdentity<'_>, pod: &mut Value) -> Result<(), String>;
}

/// The plugins of one `ModelServing`, in order.
#[derive(Debug)]
pub(crate) struct Chain<'a>(Vec<Link<'a>>);

#[derive(Debug)]
struct Link<'a> {
    name: &'a str,
    scope: Option<&'a PluginScope>,
    plugin: Box<dyn PodPlugin>,
}

impl<'a> Chain<'a> {
    /// Builds all plugins, or says what is wrong with the first that cannot be.
    pub(crate) fn of(view: &'a ServingView) -> Result<Self, String> {
        let specs = view.serving.spec.plugins.as_deref().unwrap_or_default();
        let links = specs.iter().map(|spec| {
            let plugin = build(view, spec)?;
            Ok(Link {
                name: &spec.name,
                scope: spec.scope.as_ref(),
                plugin,
            })
        });
        links.collect::<Result<_, _>>().map(Self)
    }

    /// Lets every plugin that cares for this pod change it.
    pub(crate) fn run(&self, identity: &PodIdentity<'_>, pod: &mut Value) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let original = pod.clone();
        for link in self
            .0
            .iter()
            .filter(|link| is_in_scope(link.scope, identity))
        {
            link.plugin
                .on_pod_create(identity, pod)
                .map_err(|error| format!("plugin {} OnPodCreate: {error}", link.name))?;
        }
        restore_identity(&original, pod);
        Ok(())
    }
}

/// All plugins there are.
fn build(view: &ServingView, spec: &PluginSpec) -> Result<Box<dyn PodPlugin>, String> {
    let PluginSpec { name, kind, .. } = spec;
    // The API server defaults the kind, but objects may come from elsewhere.
    if !kind.is_empty() && kind != BUILT_IN {
        return Err(format!("plugin {name} has unsupported type {kind}"));
    }
    let nothing = Value::Object(Map::new());
    let config = spec.config.as_ref().unwrap_or(&nothing);
    match name.as_str() {
        demo_pod_tweaks::NAME => {
            demo_pod_tweaks::build(config).map_err(|error| format!("build plugin {name}: {error}"))
        }
        labels::LWS_PLUGIN => Ok(lws_standard_labels::build(view)),
        _ => Err(format!("plugin {name} not registered")),
    }
}

/// A target that nobody knows matches nothing.
fn is_in_scope(scope: Option<&PluginScope>, identity: &PodIdentity<'_>) -> bool {
    let Some(scope) = scope else { return true };
    let roles = scope.roles.as_deref().unwrap_or_default();
    let is_role = roles.is_empty() || roles.contains(&identity.role.name);
    let is_target = match scope.target.as_deref().unwrap_or_default() {
        "" | "All" => true,
        "Entry" => identity.index == 0,
        "Worker" => identity.index > 0,
        _ => false,
    };
    is_role && is_target
}

fn restore_identity(original: &Value, pod: &mut Value) {
    let was = &original["metadata"];
    for key in ["name", "namespace", "ownerReferences"] {
        pod["metadata"][key] = was[key].clone();
    }
    let Some(all) = pod["metadata"]["labels"].as_object_mut() else {
        pod["metadata"]["labels"] = was["labels"].clone();
        return;
    };
    for key in labels::IDENTITY {
        match was["labels"].get(key) {
            Some(value) => all.insert(key.to_owned(), value.clone()),
            None => all.remove(key),
        };
    }
}

/// Containers and init containers of a pod.
fn containers(pod: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let spec = pod["spec"].as_object_mut();
    let lists = spec.into_iter().flat_map(|spec| {
        spec.iter_mut()
            .filter(|(key, _)| matches!(key.as_str(), "containers" | "initContainers"))
    });
    lists
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests;
