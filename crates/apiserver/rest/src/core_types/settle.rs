//! What only the server may set on built-in types, beyond the metadata that the object store keeps.

use serde_json::{Map, Value, json};

use super::{
    json::{fill, is_unset, items, object_mut, text},
    pod_spec,
};

/// The finalizer that holds a definition until its objects are gone.
pub(crate) const DEFINITION_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Sets what belongs to the server in `object`; `old` is what it replaces and `now` the present in API form.
pub(crate) fn settle(group: &str, kind: &str, object: &mut Value, old: Option<&Value>, now: &str) {
    match (group, kind, old) {
        ("", "Pod", None) => {
            let class = object
                .get("spec")
                .map_or("BestEffort", pod_spec::quality_of_service);
            if let Some(status) = object_mut(object, "status") {
                status.insert("qosClass".into(), class.into());
            }
        }
        ("apps", "Deployment", None) => {
            object
                .as_object_mut()
                .map(|map| map.insert("status".into(), json!({})));
        }
        ("apps", "ReplicaSet", None) => {
            object
                .as_object_mut()
                .map(|map| map.insert("status".into(), json!({ "replicas": 0 })));
        }
        ("", "Service", _) => settle_service(object, old),
        ("apiextensions.k8s.io", "CustomResourceDefinition", _) => {
            settle_definition(object, old, now);
        }
        _ => {}
    }
}

fn settle_service(object: &mut Value, old: Option<&Value>) {
    let uid = text(object, &["metadata", "uid"]).to_owned();
    let Some(spec) = object_mut(object, "spec") else {
        return;
    };
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return;
    }
    for member in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let held = old.and_then(|old| old.get("spec")?.get(member));
        if let Some(held) = held.filter(|_| is_unset(spec.get(member))) {
            spec.insert(member.to_owned(), held.clone());
        }
    }
    if is_unset(spec.get("clusterIP")) {
        spec.insert("clusterIP".into(), address_for(&uid).into());
    }
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    for (member, value) in [
        ("clusterIPs", json!([address])),
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        if is_unset(spec.get(member)) {
            spec.insert(member.into(), value);
        }
    }
}

/// An address of the usual service range. Nothing routes it here: it only has to look like one and rarely repeat.
fn address_for(uid: &str) -> String {
    let digest = uid.bytes().fold(0x811C_9DC5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [_, b, c, d] = digest.to_be_bytes();
    format!("10.{}.{c}.{}", 96 + b % 16, d.clamp(1, 254))
}

/// A definition is established as soon as it is stored: its types are served before the writer hears of it.
fn settle_definition(object: &mut Value, old: Option<&Value>, now: &str) {
    let names = object.pointer("/spec/names").cloned().unwrap_or_default();
    let stored: Vec<Value> = stored_versions(object, old);
    if old.is_none() {
        hold(object);
    }
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let status = map.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    fill(
        status,
        "conditions",
        json!([
            condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted",
                now
            ),
        ]),
    );
    if let Some(status) = status.as_object_mut() {
        status.insert("acceptedNames".into(), names);
        status.insert("storedVersions".into(), stored.into());
    }
}

fn condition(kind: &str, reason: &str, message: &str, now: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now,
    })
}

fn stored_versions(object: &Value, old: Option<&Value>) -> Vec<Value> {
    let mut stored: Vec<Value> = old
        .and_then(|old| old.get("status"))
        .into_iter()
        .flat_map(|status| items(status, "storedVersions").cloned())
        .collect();
    let spec = object.get("spec").unwrap_or(&Value::Null);
    for version in items(spec, "versions").filter(|version| version["storage"] == true) {
        let name = version["name"].clone();
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    stored
}

fn hold(object: &mut Value) {
    let Some(metadata) = object_mut(object, "metadata") else {
        return;
    };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|held| held == DEFINITION_CLEANUP)
    {
        list.push(DEFINITION_CLEANUP.into());
    }
}

/// Turns the status of a definition that is being deleted, so that clients see why it is still there.
pub(crate) fn terminating(status: &mut Map<String, Value>, now: &str) {
    let message = "CustomResource deletion is in progress";
    let entry = condition("Terminating", "InstanceDeletionInProgress", message, now);
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut()
        && !conditions
            .iter()
            .any(|condition| condition["type"] == "Terminating")
    {
        conditions.push(entry);
    }
}
