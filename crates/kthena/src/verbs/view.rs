//! Texts about ModelServings. Pure: the time is an argument.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kthena_api::labels;
use kthena_api::model_serving::{ModelServing, ModelServingStatus, RolloutType};

use super::table::Table;

/// Conditions in the order in which they are worth telling.
const TOLD_FIRST: [&str; 7] = [
    "PluginFailed",
    "Unschedulable",
    "Stalled",
    "UpdateInProgress",
    "Progressing",
    "Available",
    "Paused",
];

/// Which columns a table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) has_namespace: bool,
    pub(super) is_wide: bool,
}

/// The table of `get`.
pub(super) fn table(servings: &[ModelServing], columns: Columns, now: Timestamp) -> String {
    let mut table = Table::new(&header(columns));
    for serving in servings {
        table.row(row(serving, columns, now));
    }
    table.text("")
}

/// What stands above the columns.
pub(super) fn header(columns: Columns) -> Vec<&'static str> {
    let mut header = vec!["NAME", "REPLICAS", "AVAILABLE", "UPDATED", "STATUS", "AGE"];
    if columns.has_namespace {
        header.insert(0, "NAMESPACE");
    }
    if columns.is_wide {
        header.extend(["REVISION", "ROLES", "MESSAGE"]);
    }
    header
}

/// One object.
pub(super) fn row(serving: &ModelServing, columns: Columns, now: Timestamp) -> Vec<String> {
    let status = serving.status.clone().unwrap_or_default();
    let metadata = &serving.metadata;
    let (kind, message) = state(&status);
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    let mut row = vec![
        metadata.name.clone().unwrap_or_default(),
        format!("{}/{}", status.replicas, serving.spec.replicas.unwrap_or(1)),
        status.available_replicas.to_string(),
        status.updated_replicas.to_string(),
        kind,
        age(created, now),
    ];
    if columns.has_namespace {
        row.insert(0, metadata.namespace.clone().unwrap_or_default());
    }
    if columns.is_wide {
        row.extend([status.update_revision.clone(), roles(&status), message]);
    }
    row
}

/// The condition that says most, and its message.
pub(super) fn state(status: &ModelServingStatus) -> (String, String) {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let find = |kind: &str| {
        conditions
            .iter()
            .find(|one| one.type_ == kind && one.status == "True")
    };
    let told = TOLD_FIRST.iter().find_map(|kind| find(kind));
    let Some(told) = told else {
        return ("Unknown".to_owned(), String::new());
    };
    let kind = if find("Paused").is_some() && told.type_ != "Paused" {
        format!("{},Paused", told.type_)
    } else {
        told.type_.clone()
    };
    (kind, told.message.clone())
}

/// `prefill 2/2, decode 3/4`: ready of all instances.
fn roles(status: &ModelServingStatus) -> String {
    let roles: Vec<_> = status
        .roles
        .iter()
        .map(|role| format!("{} {}/{}", role.name, role.ready_replicas, role.replicas))
        .collect();
    roles.join(", ")
}

/// `45s`, `12m`, `3h` or `9d` since then.
fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return String::new();
    };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Everything about one object that a person wants to see.
pub(super) fn describe(
    serving: &ModelServing,
    pods: &[Pod],
    events: &[Event],
    now: Timestamp,
) -> String {
    let status = serving.status.clone().unwrap_or_default();
    let mut lines = head(serving, &status);
    lines.push_str("\nRoles:\n");
    let mut roles = Table::new(&["NAME", "READY", "INSTANCES", "UPDATED"]);
    for role in &status.roles {
        roles.row(vec![
            role.name.clone(),
            role.ready_replicas.to_string(),
            role.replicas.to_string(),
            role.updated_replicas.to_string(),
        ]);
    }
    lines.push_str(&roles.text("  "));
    lines.push_str("\nConditions:\n");
    let mut conditions = Table::new(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]);
    for one in status.conditions.iter().flatten() {
        conditions.row(vec![
            one.type_.clone(),
            one.status.clone(),
            age(Some(one.last_transition_time.0), now),
            one.reason.clone(),
            one.message.clone(),
        ]);
    }
    lines.push_str(&conditions.text("  "));
    lines.push_str("\nPods:\n");
    lines.push_str(&pod_table(pods, now));
    if !events.is_empty() {
        lines.push_str("\nEvents:\n");
        lines.push_str(&event_table(events, now));
    }
    lines
}

fn head(serving: &ModelServing, status: &ModelServingStatus) -> String {
    let metadata = &serving.metadata;
    let strategy = serving.spec.rollout_strategy.clone().unwrap_or_default();
    let kind = match strategy.kind.unwrap_or_default() {
        RolloutType::ServingGroupRollingUpdate => "ServingGroupRollingUpdate",
        RolloutType::RoleRollingUpdate => "RoleRollingUpdate",
    };
    let paused = if strategy.paused == Some(true) {
        ", paused"
    } else {
        ""
    };
    let (state, _) = state(status);
    format!(
        "Name:       {}\nNamespace:  {}\nStatus:     {state}\n\
         Replicas:   {} wanted, {} exist, {} available, {} updated\n\
         Revision:   {} (update {})\nRollout:    {kind}{paused}\n",
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
        serving.spec.replicas.unwrap_or(1),
        status.replicas,
        status.available_replicas,
        status.updated_replicas,
        status.current_revision,
        status.update_revision,
    )
}

fn pod_table(pods: &[Pod], now: Timestamp) -> String {
    let mut table = Table::new(&[
        "GROUP", "INSTANCE", "POD", "READY", "STATUS", "RESTARTS", "REVISION", "AGE",
    ]);
    for pod in pods {
        let label = |key: &str| {
            let labels = pod.metadata.labels.as_ref();
            labels
                .and_then(|all| all.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let ready = containers.iter().filter(|one| one.ready).count();
        let waiting = containers
            .iter()
            .find_map(|one| one.state.as_ref()?.waiting.as_ref()?.reason.clone());
        let phase = if pod.metadata.deletion_timestamp.is_some() {
            "Terminating".to_owned()
        } else {
            waiting.or(status.phase).unwrap_or_default()
        };
        let restarts: i32 = containers.iter().map(|one| one.restart_count).sum();
        table.row(vec![
            label(labels::GROUP_NAME),
            label(labels::ROLE_ID),
            pod.metadata.name.clone().unwrap_or_default(),
            format!("{ready}/{}", containers.len()),
            phase,
            restarts.to_string(),
            label(labels::REVISION),
            age(
                pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
                now,
            ),
        ]);
    }
    table.text("  ")
}

fn event_table(events: &[Event], now: Timestamp) -> String {
    let mut table = Table::new(&["LAST", "COUNT", "TYPE", "REASON", "MESSAGE"]);
    for event in events {
        table.row(vec![
            age(event.last_timestamp.as_ref().map(|time| time.0), now),
            event.count.unwrap_or(1).to_string(),
            event.type_.clone().unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
            event.message.clone().unwrap_or_default(),
        ]);
    }
    table.text("  ")
}

/// How far a rollout is, and whether waiting for it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rollout {
    /// Nothing is left to do.
    Done(String),
    /// Not yet.
    Waiting(String),
    /// It will not go on by itself.
    Stuck(String),
}

/// Reads a rollout's state from the status.
pub(super) fn rollout(serving: &ModelServing) -> Rollout {
    let status = serving.status.clone().unwrap_or_default();
    let name = serving.metadata.name.as_deref().unwrap_or_default();
    if Some(status.observed_generation) != serving.metadata.generation {
        return Rollout::Waiting("waiting for the controller to look at the new spec".to_owned());
    }
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let is_true = |kind: &str| {
        conditions
            .iter()
            .any(|one| one.type_ == kind && one.status == "True")
    };
    let wanted = serving.spec.replicas.unwrap_or(1);
    let (_, message) = state(&status);
    if is_true("Stalled") || is_true("PluginFailed") {
        return Rollout::Stuck(message);
    }
    let all = format!(
        "{} of {wanted} groups updated, {} available",
        status.updated_replicas, status.available_replicas
    );
    let is_settled = is_true("Available") && status.replicas == wanted;
    match (is_settled, is_true("Paused")) {
        (true, false) => Rollout::Done(format!("modelserving \"{name}\" rolled out: {all}")),
        (true, true) if status.updated_replicas >= wanted => Rollout::Done(format!(
            "modelserving \"{name}\" rolled out (paused): {all}"
        )),
        (_, true) => Rollout::Stuck(format!("paused: {all}")),
        (false, false) => Rollout::Waiting(if message.is_empty() { all } else { message }),
    }
}

/// Revisions that are stored, the last wanted last: which groups run them, and what is in them.
pub(super) fn history(
    serving: &ModelServing,
    revisions: &BTreeMap<String, Revision>,
    pods: &[Pod],
    now: Timestamp,
) -> String {
    let status = serving.status.clone().unwrap_or_default();
    let mut table = Table::new(&["REVISION", "AGE", "GROUPS", "IMAGES", "NOTE"]);
    let mut revisions: Vec<_> = revisions.iter().collect();
    revisions.sort_by_key(|(name, revision)| (revision.number, *name == &status.update_revision));
    for (name, revision) in revisions {
        let mut groups: Vec<_> = pods
            .iter()
            .filter_map(|pod| pod.metadata.labels.as_ref())
            .filter(|all| all.get(labels::REVISION) == Some(name))
            .filter_map(|all| all.get(labels::GROUP_NAME).cloned())
            .collect();
        groups.sort();
        groups.dedup();
        let mut notes = Vec::new();
        if *name == status.update_revision {
            notes.push("wanted");
        }
        if *name == status.current_revision {
            notes.push("current");
        }
        table.row(vec![
            name.clone(),
            age(revision.created, now),
            groups.len().to_string(),
            revision.images.join(", "),
            notes.join(", "),
        ]);
    }
    table.text("")
}

/// A stored revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Revision {
    /// The higher, the later it was wanted.
    pub(super) number: i64,
    pub(super) created: Option<Timestamp>,
    /// Images of all containers, each once.
    pub(super) images: Vec<String>,
}

#[cfg(test)]
mod tests;
