//! What a write to a built-in type may set: everything else is taken from the stored object or made anew.

use serde_json::{Map, Value, json};

use super::{
    json::{fill, is_unset, object_mut, text},
    pod_spec,
};

/// The part of an object that a write addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object itself; its status stays.
    Main,
    /// The status subresource; all else stays.
    Status,
}

/// Kinds whose status a write to the main resource cannot set.
fn has_guarded_status(group: &str, kind: &str) -> bool {
    match group {
        "" => matches!(kind, "Pod" | "Service" | "Namespace" | "PersistentVolumeClaim" | "Node"),
        "apps" => matches!(kind, "Deployment" | "ReplicaSet"),
        "apiextensions.k8s.io" => kind == "CustomResourceDefinition",
        _ => false,
    }
}

/// True for kinds whose `metadata.generation` counts changes of the spec.
pub(crate) fn counts_generations(group: &str, kind: &str) -> bool {
    match group {
        "" => kind == "Pod",
        "apps" => matches!(kind, "Deployment" | "ReplicaSet"),
        "discovery.k8s.io" => kind == "EndpointSlice",
        "apiextensions.k8s.io" => kind == "CustomResourceDefinition",
        _ => false,
    }
}

/// Resets what the creator of an object cannot set. `cluster_ip` is an address no other service has.
pub(crate) fn for_create(group: &str, kind: &str, object: &mut Value, cluster_ip: impl FnOnce() -> String) {
    // A node agent registers a node together with its status.
    let resets = has_guarded_status(group, kind) && kind != "Node";
    let Some(map) = object.as_object_mut().filter(|_| resets) else {
        return;
    };
    map.remove("status");
    let status = match kind {
        "Pod" => {
            let class = map.get("spec").map_or("BestEffort", pod_spec::quality_of_service);
            json!({ "phase": "Pending", "qosClass": class })
        }
        "Namespace" => {
            map.insert("spec".into(), json!({ "finalizers": ["kubernetes"] }));
            json!({ "phase": "Active" })
        }
        "PersistentVolumeClaim" => json!({ "phase": "Pending" }),
        "Service" => {
            if let Some(spec) = map.get_mut("spec") {
                give_address(spec, cluster_ip);
            }
            json!({ "loadBalancer": {} })
        }
        "CustomResourceDefinition" => json!({ "conditions": [], "storedVersions": [] }),
        _ => json!({}),
    };
    map.insert("status".into(), status);
}

fn give_address(spec: &mut Value, cluster_ip: impl FnOnce() -> String) {
    if text(spec, &["type"]) == "ExternalName" {
        return;
    }
    if is_unset(spec.get("clusterIP")) {
        fill(spec, "clusterIP", cluster_ip());
    }
    let address = text(spec, &["clusterIP"]).to_owned();
    fill(spec, "clusterIPs", json!([address]));
    fill(spec, "ipFamilies", json!(["IPv4"]));
    fill(spec, "ipFamilyPolicy", "SingleStack");
}

/// Takes over from `old` what a write to `part` cannot set.
pub(crate) fn for_update(group: &str, kind: &str, object: &mut Value, old: &Value, part: Part) {
    let (Some(new), Some(old)) = (object.as_object_mut(), old.as_object()) else {
        return;
    };
    match part {
        Part::Main if has_guarded_status(group, kind) => keep(new, old, "status"),
        Part::Main => {}
        Part::Status => keep_all_but_status(group, kind, new, old),
    }
    match (part, kind) {
        (Part::Main, "Namespace") => keep(new, old, "spec"),
        (Part::Main, "Service") => keep_address(object, &Value::Object(old.clone())),
        _ => {}
    }
}

fn keep(new: &mut Map<String, Value>, old: &Map<String, Value>, member: &str) {
    match old.get(member) {
        Some(held) => new.insert(member.to_owned(), held.clone()),
        None => new.remove(member),
    };
}

fn keep_all_but_status(group: &str, kind: &str, new: &mut Map<String, Value>, old: &Map<String, Value>) {
    new.retain(|member, _| old.contains_key(member) || matches!(member.as_str(), "status" | "metadata"));
    for (member, held) in old {
        if !matches!(member.as_str(), "status" | "metadata") {
            new.insert(member.clone(), held.clone());
        }
    }
    // Agents may label what they report on; a workload's own labels belong to its owner.
    let kept: &[&str] = match (group, kind) {
        ("", "Pod") => &["ownerReferences", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"],
        ("apps" | "apiextensions.k8s.io", _) => &["labels", "annotations", "ownerReferences", "finalizers"],
        _ => &[],
    };
    let (Some(now), Some(before)) = (
        new.get_mut("metadata").and_then(Value::as_object_mut),
        old.get("metadata").and_then(Value::as_object),
    ) else {
        return;
    };
    for member in kept {
        keep(now, before, member);
    }
}

/// A service keeps its address when an update does not name one.
fn keep_address(object: &mut Value, old: &Value) {
    let Some(spec) = object_mut(object, "spec") else {
        return;
    };
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return;
    }
    for member in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if is_unset(spec.get(member))
            && let Some(held) = old.get("spec").and_then(|spec| spec.get(member))
        {
            spec.insert(member.to_owned(), held.clone());
        }
    }
}
