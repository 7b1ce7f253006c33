//! Columns of built-in kinds: which there are, and the cells of the simple ones.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age_since;
use super::read::{NONE, age, count, flag, items, joined, name, size, text, text_or, time};
use super::{CellsOf, pods, services, workloads};
use crate::meta;

/// Name, type, priority.
type Listed = &'static [(&'static str, &'static str, i64)];

const NAME: (&str, &str, i64) = ("Name", "string", 0);
const AGE: (&str, &str, i64) = ("Age", "string", 0);

const fn text_column(name: &'static str) -> (&'static str, &'static str, i64) {
    (name, "string", 0)
}

const fn wide(name: &'static str) -> (&'static str, &'static str, i64) {
    (name, "string", 1)
}

const fn number(name: &'static str) -> (&'static str, &'static str, i64) {
    (name, "integer", 0)
}

const PLAIN: Listed = &[NAME, AGE];
const PODS: Listed = &[
    NAME,
    text_column("Ready"),
    text_column("Status"),
    text_column("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];
const SERVICES: Listed = &[
    NAME,
    text_column("Type"),
    text_column("Cluster-IP"),
    text_column("External-IP"),
    text_column("Port(s)"),
    AGE,
    wide("Selector"),
];
const DEPLOYMENTS: Listed = &[
    NAME,
    text_column("Ready"),
    text_column("Up-to-date"),
    text_column("Available"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const REPLICA_SETS: Listed = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const STATEFUL_SETS: Listed = &[
    NAME,
    text_column("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
];
const NODES: Listed = &[
    NAME,
    text_column("Status"),
    text_column("Roles"),
    AGE,
    text_column("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];
const EVENTS: Listed = &[
    text_column("Last Seen"),
    text_column("Type"),
    text_column("Reason"),
    text_column("Object"),
    wide("Subobject"),
    wide("Source"),
    text_column("Message"),
    wide("First Seen"),
    wide("Count"),
    ("Name", "string", 1),
];
const NAMESPACES: Listed = &[NAME, text_column("Status"), AGE];
const CONFIG_MAPS: Listed = &[NAME, text_column("Data"), AGE];
const SECRETS: Listed = &[NAME, text_column("Type"), text_column("Data"), AGE];
const LEASES: Listed = &[NAME, text_column("Holder"), AGE];
const REVISIONS: Listed = &[
    NAME,
    text_column("Controller"),
    text_column("Revision"),
    AGE,
];
const ENDPOINT_SLICES: Listed = &[
    NAME,
    text_column("AddressType"),
    text_column("Ports"),
    text_column("Endpoints"),
    AGE,
];
const ENDPOINTS: Listed = &[NAME, text_column("Endpoints"), AGE];
const DEFINITIONS: Listed = &[NAME, ("Created At", "date", 0)];
const PRIORITY_CLASSES: Listed = &[
    NAME,
    number("Value"),
    ("Global-Default", "boolean", 0),
    AGE,
    text_column("PreemptionPolicy"),
];

/// Columns of a resource and what fills them.
pub(super) fn columns(group: &str, resource: &str) -> (Listed, CellsOf) {
    match (group, resource) {
        ("", "pods") => (PODS, pods::cells),
        ("", "services") => (SERVICES, services::service_cells),
        ("", "endpoints") => (ENDPOINTS, services::endpoints_cells),
        ("discovery.k8s.io", "endpointslices") => (ENDPOINT_SLICES, services::slice_cells),
        ("apps", "deployments") => (DEPLOYMENTS, workloads::deployment_cells),
        ("apps", "replicasets") => (REPLICA_SETS, workloads::replica_set_cells),
        ("apps", "statefulsets") => (STATEFUL_SETS, workloads::stateful_set_cells),
        ("apps", "controllerrevisions") => (REVISIONS, workloads::revision_cells),
        ("", "nodes") => (NODES, node_cells),
        ("" | "events.k8s.io", "events") => (EVENTS, event_cells),
        ("", "namespaces") => (NAMESPACES, |value, now| {
            vec![
                name(value),
                json!(text(value, &["status", "phase"])),
                age(value, now),
            ]
        }),
        ("", "configmaps") => (CONFIG_MAPS, |value, now| {
            let entries = size(value, &["data"]) + size(value, &["binaryData"]);
            vec![name(value), json!(entries), age(value, now)]
        }),
        ("", "secrets") => (SECRETS, |value, now| {
            let kind = text(value, &["type"]);
            vec![
                name(value),
                json!(kind),
                json!(size(value, &["data"])),
                age(value, now),
            ]
        }),
        ("coordination.k8s.io", "leases") => (LEASES, |value, now| {
            vec![
                name(value),
                json!(text(value, &["spec", "holderIdentity"])),
                age(value, now),
            ]
        }),
        ("apiextensions.k8s.io", "customresourcedefinitions") => (DEFINITIONS, |value, _| {
            vec![name(value), json!(meta::text(value, "creationTimestamp"))]
        }),
        ("scheduling.k8s.io", "priorityclasses") => (PRIORITY_CLASSES, |value, now| {
            vec![
                name(value),
                json!(count(value, &["value"])),
                json!(flag(value, &["globalDefault"])),
                age(value, now),
                json!(text(value, &["preemptionPolicy"])),
            ]
        }),
        _ => (PLAIN, |value, now| vec![name(value), age(value, now)]),
    }
}

fn node_cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(node, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready");
    let mut status = match ready.map(|condition| text(condition, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if flag(node, &["spec", "unschedulable"]) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = meta::at(node, &["metadata", "labels"]).and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None => value.as_str().filter(|_| key == "kubernetes.io/role"),
            },
        )
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        items(node, &["status", "addresses"])
            .iter()
            .find(|address| text(address, &["type"]) == kind)
            .map_or(NONE, |address| text(address, &["address"]))
    };
    let info = |member: &str| json!(text_or(node, &["status", "nodeInfo", member], "<unknown>"));
    vec![
        name(node),
        json!(status),
        json!(joined(roles.into_iter(), NONE)),
        age(node, now),
        json!(text(node, &["status", "nodeInfo", "kubeletVersion"])),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

/// Events are read in two forms; each has some of the members under other names.
fn event_cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let either = |core: &[&str], newer: &[&str]| match text(event, core) {
        "" => text(event, newer).to_owned(),
        found => found.to_owned(),
    };
    let since = |time: Option<Timestamp>| age_since(time, now);
    let first = time(event, &["firstTimestamp"])
        .or_else(|| time(event, &["deprecatedFirstTimestamp"]))
        .or_else(|| time(event, &["eventTime"]));
    let last =
        time(event, &["lastTimestamp"]).or_else(|| time(event, &["deprecatedLastTimestamp"]));
    let series = event.get("series").filter(|series| !series.is_null());
    let last = match series {
        Some(series) => time(series, &["lastObservedTime"]),
        None => last.or(first),
    };
    let times = series.map_or_else(
        || {
            count(event, &["count"])
                .max(count(event, &["deprecatedCount"]))
                .max(1)
        },
        |series| count(series, &["count"]),
    );
    let kind = either(&["involvedObject", "kind"], &["regarding", "kind"]).to_lowercase();
    let target = match either(&["involvedObject", "name"], &["regarding", "name"]).as_str() {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        json!(since(last)),
        json!(text(event, &["type"])),
        json!(text(event, &["reason"])),
        json!(target),
        json!(either(
            &["involvedObject", "fieldPath"],
            &["regarding", "fieldPath"]
        )),
        json!(event_source(event)),
        json!(either(&["message"], &["note"]).trim()),
        json!(since(first)),
        json!(times),
        name(event),
    ]
}

fn event_source(event: &Value) -> String {
    let pick = |paths: [&[&str]; 3]| {
        paths
            .iter()
            .map(|path| text(event, path))
            .find(|found| !found.is_empty())
    };
    let component = pick([
        &["source", "component"],
        &["deprecatedSource", "component"],
        &["reportingComponent"],
    ])
    .or_else(|| pick([&["reportingController"], &[], &[]]))
    .unwrap_or_default();
    let host = pick([
        &["source", "host"],
        &["deprecatedSource", "host"],
        &["reportingInstance"],
    ]);
    host.map_or_else(
        || component.to_owned(),
        |host| format!("{component}, {host}"),
    )
}
