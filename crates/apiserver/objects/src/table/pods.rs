//! The row of a pod: what state it is in, told in one word.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age_since;
use super::read::{NONE, age, count, flag, items, name, text, text_or, time};
use crate::meta;

/// What the containers' states add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = match summary.last_restart.filter(|_| summary.restarts != 0) {
        Some(time) => format!("{} ({} ago)", summary.restarts, age_since(Some(time), now)),
        None => summary.restarts.to_string(),
    };
    let ip = items(pod, &["status", "podIPs"])
        .first()
        .map_or("", |ip| text(ip, &["ip"]));
    let ip = if ip.is_empty() {
        text_or(pod, &["status", "podIP"], NONE)
    } else {
        ip
    };
    vec![
        name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        age(pod, now),
        json!(ip),
        json!(text_or(pod, &["spec", "nodeName"], NONE)),
        json!(text_or(pod, &["status", "nominatedNodeName"], NONE)),
        json!(readiness_gates(pod)),
    ]
}

/// What a reader of rows may filter by: whether the pod has come to its end.
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

fn summarize(pod: &Value) -> Summary {
    let phase = text(pod, &["status", "phase"]);
    let status_reason = text(pod, &["status", "reason"]);
    let mut summary = Summary {
        reason: if status_reason.is_empty() {
            phase
        } else {
            status_reason
        }
        .to_owned(),
        ready: 0,
        total: items(pod, &["spec", "containers"]).len(),
        restarts: 0,
        last_restart: None,
    };
    if condition(pod, "PodScheduled")
        .is_some_and(|found| text(found, &["reason"]) == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let sidecars: Vec<&str> = items(pod, &["spec", "initContainers"])
        .iter()
        .filter(|container| text(container, &["restartPolicy"]) == "Always")
        .map(|container| text(container, &["name"]))
        .collect();
    summary.total += sidecars.len();

    let initializing = add_init_containers(&mut summary, pod, &sidecars);
    let initialized =
        condition(pod, "Initialized").is_some_and(|found| text(found, &["status"]) == "True");
    if !initializing || initialized {
        add_containers(&mut summary, pod, &sidecars);
    }
    if meta::is_deleting(pod) {
        if status_reason == "NodeLost" {
            "Unknown".clone_into(&mut summary.reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut summary.reason);
        }
    }
    summary
}

/// Counts init containers up to the first that is not done; says whether there is one.
fn add_init_containers(summary: &mut Summary, pod: &Value, sidecars: &[&str]) -> bool {
    let total = items(pod, &["spec", "initContainers"]).len();
    for (at, status) in items(pod, &["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        count_restarts(summary, status);
        let terminated = meta::at(status, &["state", "terminated"]);
        if terminated.is_some_and(|state| count(state, &["exitCode"]) == 0) {
            continue;
        }
        if sidecars.contains(&text(status, &["name"])) && flag(status, &["started"]) {
            summary.ready += usize::from(flag(status, &["ready"]));
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        summary.reason = match terminated {
            Some(state) => format!("Init:{}", end_reason(state)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{at}/{total}"),
        };
        return true;
    }
    false
}

fn add_containers(summary: &mut Summary, pod: &Value, sidecars: &[&str]) {
    // Restarts of init containers that are done no longer count, those of sidecars do.
    (summary.restarts, summary.last_restart) = (0, None);
    for status in items(pod, &["status", "initContainerStatuses"]) {
        if sidecars.contains(&text(status, &["name"])) {
            count_restarts(summary, status);
        }
    }
    let mut running = false;
    for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
        count_restarts(summary, status);
        let waiting = text(status, &["state", "waiting", "reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(state) = meta::at(status, &["state", "terminated"]) {
            summary.reason = end_reason(state);
        } else if flag(status, &["ready"]) && meta::at(status, &["state", "running"]).is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let ready = condition(pod, "Ready").is_some_and(|found| text(found, &["status"]) == "True");
        if ready { "Running" } else { "NotReady" }.clone_into(&mut summary.reason);
    }
}

fn count_restarts(summary: &mut Summary, status: &Value) {
    summary.restarts += count(status, &["restartCount"]);
    let ended = time(status, &["lastState", "terminated", "finishedAt"]);
    summary.last_restart = summary.last_restart.max(ended);
}

fn end_reason(state: &Value) -> String {
    match (text(state, &["reason"]), count(state, &["signal"])) {
        ("", 0) => format!("ExitCode:{}", count(state, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    items(pod, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == kind)
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates
        .iter()
        .filter_map(|gate| condition(pod, text(gate, &["conditionType"])))
        .filter(|condition| text(condition, &["status"]) == "True")
        .count();
    format!("{open}/{}", gates.len())
}
