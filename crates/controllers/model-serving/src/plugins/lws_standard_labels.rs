//! `lws-standard-labels`: what tools for `LeaderWorkerSet` expect to find on its pods.
//!
//! Only for a `ModelServing` that a `LeaderWorkerSet` owns; for any other it does nothing.

use kthena_api::labels::{
    ENV_ENTRY_ADDRESS, ENV_GROUP_SIZE, ENV_WORKER_INDEX, LWS_GROUP_INDEX, LWS_GROUP_KEY, LWS_NAME,
    LWS_WORKER_INDEX,
};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::{PodPlugin, containers};
use crate::names;
use crate::pods::PodIdentity;
use crate::view::ServingView;

const OWNER_KIND: &str = "LeaderWorkerSet";
/// Their name for a variable, and ours.
const ALIASES: [(&str, &str); 3] = [
    ("LWS_LEADER_ADDRESS", ENV_ENTRY_ADDRESS),
    ("LWS_GROUP_SIZE", ENV_GROUP_SIZE),
    ("LWS_WORKER_INDEX", ENV_WORKER_INDEX),
];

#[derive(Debug)]
struct StandardLabels {
    serving: String,
    /// Name of the `LeaderWorkerSet`, if there is one.
    owner: Option<String>,
}

pub(super) fn build(view: &ServingView) -> Box<dyn PodPlugin> {
    let owners = view.serving.metadata.owner_references.iter().flatten();
    let owner = { owners }.find(|owner| owner.kind == OWNER_KIND);
    Box::new(StandardLabels {
        serving: view.name().to_owned(),
        owner: owner.map(|owner| owner.name.clone()),
    })
}

impl PodPlugin for StandardLabels {
    fn on_pod_create(&self, identity: &PodIdentity<'_>, pod: &mut Value) -> Result<(), String> {
        let Some(owner) = &self.owner else {
            return Ok(());
        };
        let group = names::ordinal_under(&self.serving, identity.group)
            .ok_or_else(|| format!("{} is no group name", identity.group))?;
        let key = Sha1::digest(format!("{owner}-{group}"));
        let labels = &mut pod["metadata"]["labels"];
        labels[LWS_NAME] = json!(owner);
        labels[LWS_GROUP_INDEX] = json!(group.to_string());
        labels[LWS_WORKER_INDEX] = json!(identity.index.to_string());
        labels[LWS_GROUP_KEY] = json!(format!("{key:x}"));
        for container in containers(pod) {
            add_aliases(container);
        }
        Ok(())
    }
}

/// Beside ours, so that the user's variables can refer to either.
fn add_aliases(container: &mut serde_json::Map<String, Value>) {
    let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) else {
        return;
    };
    let find = |name: &str| variables.iter().find(|variable| variable["name"] == name);
    let aliases: Vec<_> = ALIASES
        .iter()
        .filter_map(|(alias, ours)| {
            let value = find(ours)?["value"].clone();
            Some(json!({ "name": alias, "value": value }))
        })
        .collect();
    variables.retain(|variable| ALIASES.iter().all(|(alias, _)| variable["name"] != *alias));
    variables.splice(0..0, aliases);
}
