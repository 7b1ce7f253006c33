//! What a `LeaderWorkerSet` becomes: the spec of its `ModelServing`.
//!
//! A group of the set is a serving group with one role of one instance: the leader is its entry pod, the others are
//! its workers. Where the set asks for what holds by default, nothing is written, so that the default stays the API
//! server's affair.

use kthena_api::{crd, labels};
use serde_json::{Map, Value, json};

use crate::object::{
    LeaderWorkerSet, LeaderWorkerTemplate, RollingUpdateConfiguration, RolloutStrategy, Template,
};

/// The one role.
pub(crate) const ROLE: &str = "default";
/// How its rollouts are made.
pub(crate) const BY_GROUP: &str = "ServingGroupRollingUpdate";
/// The limits of a rollout, which both kinds have.
pub(crate) const LIMITS: [Limit; 3] = [
    Limit {
        name: "maxUnavailable",
        default: 1,
        asked: |all| all.max_unavailable.as_ref(),
    },
    Limit {
        name: "partition",
        default: 0,
        asked: |all| all.partition.as_ref(),
    },
    Limit {
        name: "maxSurge",
        default: 0,
        asked: |all| all.max_surge.as_ref(),
    },
];
/// Where a template of the `ModelServing` is, and the member of the set it comes from.
const LEADER: (&str, &str) = (
    "spec.template.roles[0].entryTemplate",
    "spec.leaderWorkerTemplate.leaderTemplate",
);
const WORKER: (&str, &str) = (
    "spec.template.roles[0].workerTemplate",
    "spec.leaderWorkerTemplate.workerTemplate",
);

/// The spec of a `ModelServing`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Translation {
    /// As it is sent, without what has its default.
    pub(crate) spec: Value,
    /// Members of the set's templates that a `ModelServing` does not have, by their paths in the set.
    pub(crate) dropped: Vec<String>,
}

/// A limit of a rollout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    /// What it is if nobody says.
    pub(crate) default: i32,
    /// What a set says of it.
    asked: fn(&RollingUpdateConfiguration) -> Option<&Value>,
}

/// Which scheduler the pods of a set ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheduler<'a> {
    /// None of them says.
    Unsaid,
    /// All say the same.
    One(&'a str),
    /// Leader and workers do not say the same.
    Mixed,
}

/// Translates the set.
pub(crate) fn translate(set: &LeaderWorkerSet) -> Translation {
    let template = &set.spec.leader_worker_template;
    let leader = template.leader_template.as_ref();
    let role = json!({
        "name": ROLE,
        "replicas": 1,
        "entryTemplate": pod_template(leader.unwrap_or(&template.worker_template)),
        "workerReplicas": template.size.unwrap_or(1).saturating_sub(1).max(0),
        "workerTemplate": pod_template(&template.worker_template),
    });
    let mut spec = json!({
        "replicas": set.spec.replicas.unwrap_or(1),
        "plugins": [{ "name": labels::LWS_PLUGIN, "type": "BuiltIn" }],
        "template": { "roles": [role] },
    });
    if let Scheduler::One(name) = scheduler(template) {
        spec["schedulerName"] = json!(name);
    }
    if restarts_alone(template) {
        spec["recoveryPolicy"] = json!("None");
    }
    if let Some(limits) = limits(set.spec.rollout_strategy.as_ref()) {
        spec["rolloutStrategy"] = json!({
            "type": BY_GROUP, "rollingUpdateConfiguration": limits,
        });
    }
    let dropped = prune(&mut spec, leader.is_some());
    Translation { spec, dropped }
}

/// Which scheduler the pods ask for. Templates of pods that are never made do not count.
pub(crate) fn scheduler(template: &LeaderWorkerTemplate) -> Scheduler<'_> {
    let worker = &template.worker_template;
    let leader = template.leader_template.as_ref().unwrap_or(worker);
    let has_workers = template.size.unwrap_or(1) > 1;
    match (name_of(leader), name_of(worker)) {
        (Some(one), _) if !has_workers => Scheduler::One(one),
        (None, _) if !has_workers => Scheduler::Unsaid,
        (Some(one), Some(other)) if one == other => Scheduler::One(one),
        (None, None) => Scheduler::Unsaid,
        _ => Scheduler::Mixed,
    }
}

fn name_of(template: &Template) -> Option<&str> {
    let name = template.spec.as_ref()?.get("schedulerName")?.as_str()?;
    Some(name).filter(|name| !name.is_empty())
}

/// A failed pod comes back without the others of its group. If it does not, the default recreates the role, and as
/// the group has no other role, that is the whole group.
fn restarts_alone(template: &LeaderWorkerTemplate) -> bool {
    matches!(template.restart_policy.as_deref(), Some("None" | "Default"))
}

/// The limits of a rollout that are not the default; `None` if all are.
fn limits(strategy: Option<&RolloutStrategy>) -> Option<Map<String, Value>> {
    let configuration = strategy?.rolling_update_configuration.as_ref()?;
    let limits: Map<_, _> = LIMITS
        .into_iter()
        .filter_map(|limit| {
            let asked = (limit.asked)(configuration)?;
            let is_wish = *asked != json!(limit.default);
            is_wish.then(|| (limit.name.to_owned(), asked.clone()))
        })
        .collect();
    (!limits.is_empty()).then_some(limits)
}

/// Labels, annotations and the spec.
fn pod_template(template: &Template) -> Value {
    let mut made = Map::new();
    let metadata = template.metadata.iter().flatten();
    let metadata: Map<_, _> = metadata
        .filter(|(name, _)| KEPT_METADATA.contains(&name.as_str()))
        .filter(|(_, value)| value.as_object().is_some_and(|map| !map.is_empty()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !metadata.is_empty() {
        made.insert("metadata".to_owned(), Value::Object(metadata));
    }
    if let Some(spec) = &template.spec {
        made.insert("spec".to_owned(), Value::Object(spec.clone()));
    }
    Value::Object(made)
}

/// Members of a template's metadata that reach the pods.
pub(crate) const KEPT_METADATA: [&str; 2] = ["labels", "annotations"];

/// Takes away what the API server would drop, so that it is not missed ever after. Answers with the paths.
fn prune(spec: &mut Value, has_leader: bool) -> Vec<String> {
    let Some(schema) = crd::schema("ModelServing") else {
        return Vec::new();
    };
    let mut object = json!({ "spec": spec.take() });
    let dropped = schema.prune(&mut object);
    *spec = object["spec"].take();
    let mut paths: Vec<String> = dropped
        .iter()
        .map(|path| in_set(path.as_str(), has_leader))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Where in the set something in the `ModelServing` comes from.
fn in_set(path: &str, has_leader: bool) -> String {
    let leader = if has_leader { LEADER.1 } else { WORKER.1 };
    for (here, there) in [(LEADER.0, leader), WORKER] {
        if let Some(rest) = path.strip_prefix(here) {
            return format!("{there}{rest}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests;
