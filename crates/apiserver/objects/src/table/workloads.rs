//! Rows of kinds that make pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::read::{NONE, age, count, flag, items, joined, name, selector, text};
use crate::meta;

pub(super) fn deployment_cells(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(deployment),
        json!(ready_of_desired(deployment)),
        json!(count(deployment, &["status", "updatedReplicas"])),
        json!(count(deployment, &["status", "availableReplicas"])),
        age(deployment, now),
    ];
    cells.extend(container_cells(deployment));
    cells.push(json!(selector(deployment, &["spec", "selector"])));
    cells
}

pub(super) fn replica_set_cells(replica_set: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(replica_set),
        json!(desired(replica_set)),
        json!(count(replica_set, &["status", "replicas"])),
        json!(count(replica_set, &["status", "readyReplicas"])),
        age(replica_set, now),
    ];
    cells.extend(container_cells(replica_set));
    cells.push(json!(selector(replica_set, &["spec", "selector"])));
    cells
}

pub(super) fn stateful_set_cells(set: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![name(set), json!(ready_of_desired(set)), age(set, now)];
    cells.extend(container_cells(set));
    cells
}

pub(super) fn revision_cells(revision: &Value, now: Timestamp) -> Vec<Value> {
    let controller = items(revision, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| flag(owner, &["controller"]))
        .map_or_else(
            || NONE.to_owned(),
            |owner| {
                let group = text(owner, &["apiVersion"])
                    .split_once('/')
                    .map_or("", |(group, _)| group);
                let kind = text(owner, &["kind"]);
                let kind = if group.is_empty() {
                    kind.to_owned()
                } else {
                    format!("{kind}.{group}")
                };
                format!("{}/{}", kind.to_lowercase(), text(owner, &["name"]))
            },
        );
    vec![
        name(revision),
        json!(controller),
        json!(count(revision, &["revision"])),
        age(revision, now),
    ]
}

fn desired(workload: &Value) -> i64 {
    meta::at(workload, &["spec", "replicas"])
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

fn ready_of_desired(workload: &Value) -> String {
    format!(
        "{}/{}",
        count(workload, &["status", "readyReplicas"]),
        desired(workload)
    )
}

/// Names and images of the template's containers.
fn container_cells(workload: &Value) -> [Value; 2] {
    let containers = items(workload, &["spec", "template", "spec", "containers"]);
    let listed = |member: &str| {
        json!(joined(
            containers
                .iter()
                .map(|container| text(container, &[member])),
            ""
        ))
    };
    [listed("name"), listed("image")]
}
