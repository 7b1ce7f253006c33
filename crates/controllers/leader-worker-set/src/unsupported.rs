//! What a `LeaderWorkerSet` asks for that its `ModelServing` cannot give.
//!
//! Asking for what holds anyway is not reported: an explicit default is no wish.

use kthena_api::labels;
use serde_json::{Map, Value};

use crate::object::{LeaderWorkerSet, Template};
use crate::translate::{self, KEPT_METADATA, Scheduler, Translation};

/// A wish that is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsupported {
    /// Where it is.
    field: String,
    /// What happens instead, or what to do.
    remedy: &'static str,
}

/// Annotations of a set that change how its own project's controller places pods.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        labels::LWS_EXCLUSIVE_TOPOLOGY,
        "give the templates a podAntiAffinity, or the ModelServing a networkTopology",
    ),
    (
        labels::LWS_SUBGROUP_EXCLUSIVE_TOPOLOGY,
        "give the templates a podAntiAffinity, or the ModelServing a networkTopology",
    ),
    (
        labels::QUEUE_NAME,
        "annotate the ModelServing of the same name instead, it keeps annotations",
    ),
];
const UNKNOWN: &str = "this version does not know it, remove it";
const DROPPED: &str = "the pod template of a ModelServing does not have it, remove it";

impl std::fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} has no effect: {}", self.field, self.remedy)
    }
}

impl Unsupported {
    fn new(field: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            field: field.into(),
            remedy,
        }
    }

    /// The server's definition of `ModelServing` drops what ours has.
    pub(crate) fn dropped_by_server() -> Self {
        Self::new(
            "a part of spec",
            "this server's definition of ModelServing drops it, apply the newer definitions that `kthena crds` prints",
        )
    }
}

/// Everything that is asked for in vain, in the order of the fields.
pub(crate) fn find(set: &LeaderWorkerSet, translation: &Translation) -> Vec<Unsupported> {
    let mut found = Vec::new();
    annotations(set, &mut found);
    policies(set, &mut found);
    unknown("spec", &set.spec.other, &mut found);
    let template = &set.spec.leader_worker_template;
    unknown("spec.leaderWorkerTemplate", &template.other, &mut found);
    if let Some(leader) = &template.leader_template {
        metadata("leaderTemplate", leader, &mut found);
    }
    metadata("workerTemplate", &template.worker_template, &mut found);
    let dropped = translation.dropped.iter();
    found.extend(dropped.map(|path| Unsupported::new(path.clone(), DROPPED)));
    found
}

fn annotations(set: &LeaderWorkerSet, found: &mut Vec<Unsupported>) {
    let annotations = set.metadata.annotations.as_ref();
    for (name, remedy) in ANNOTATIONS {
        if annotations.is_some_and(|annotations| annotations.contains_key(name)) {
            found.push(Unsupported::new(
                format!("metadata.annotations[{name}]"),
                remedy,
            ));
        }
    }
}

fn policies(set: &LeaderWorkerSet, found: &mut Vec<Unsupported>) {
    let spec = &set.spec;
    let template = &spec.leader_worker_template;
    if !is_default(spec.startup_policy.as_ref(), &["LeaderCreated"]) {
        found.push(Unsupported::new(
            "spec.startupPolicy",
            "workers are made together with their leader, let them wait until LWS_LEADER_ADDRESS answers",
        ));
    }
    if let Some(network) = &spec.network_config {
        if !is_default(network.subdomain_policy.as_ref(), &["Shared"]) {
            found.push(Unsupported::new(
                "spec.networkConfig.subdomainPolicy",
                "a pod finds its leader by LWS_LEADER_ADDRESS, use that",
            ));
        }
        unknown("spec.networkConfig", &network.other, found);
    }
    if let Some(rollout) = &spec.rollout_strategy {
        if !is_default(rollout.kind.as_ref(), &["RollingUpdate"]) {
            found.push(Unsupported::new(
                "spec.rolloutStrategy.type",
                "groups are replaced one after the other, use RollingUpdate",
            ));
        }
        unknown("spec.rolloutStrategy", &rollout.other, found);
        if let Some(limits) = &rollout.rolling_update_configuration {
            let at = "spec.rolloutStrategy.rollingUpdateConfiguration";
            unknown(at, &limits.other, found);
        }
    }
    let restart = ["RecreateGroupOnPodRestart", "None", "Default"];
    if !is_default(template.restart_policy.as_ref(), &restart) {
        found.push(Unsupported::new(
            "spec.leaderWorkerTemplate.restartPolicy",
            "the group is recreated when a pod fails, use RecreateGroupOnPodRestart or None",
        ));
    }
    if template.sub_group_policy.is_some() {
        found.push(Unsupported::new(
            "spec.leaderWorkerTemplate.subGroupPolicy",
            "pods of a group are not divided further, write a ModelServing with a role for each part instead",
        ));
    }
    if translate::scheduler(template) == Scheduler::Mixed {
        found.push(Unsupported::new(
            "spec.leaderWorkerTemplate.*.spec.schedulerName",
            "all pods of a group have the scheduler of the ModelServing, use the same in both templates",
        ));
    }
}

fn is_default(value: Option<&String>, served: &[&str]) -> bool {
    value.is_none_or(|value| value.is_empty() || served.contains(&value.as_str()))
}

fn unknown(at: &str, members: &Map<String, Value>, found: &mut Vec<Unsupported>) {
    let members = members.iter().filter(|(_, value)| !value.is_null());
    found.extend(members.map(|(name, _)| Unsupported::new(format!("{at}.{name}"), UNKNOWN)));
}

fn metadata(which: &str, template: &Template, found: &mut Vec<Unsupported>) {
    for (name, value) in template.metadata.iter().flatten() {
        if !value.is_null() && !KEPT_METADATA.contains(&name.as_str()) {
            found.push(Unsupported::new(
                format!("spec.leaderWorkerTemplate.{which}.metadata.{name}"),
                "pods get labels and annotations only, remove it",
            ));
        }
    }
}

#[cfg(test)]
mod tests;
