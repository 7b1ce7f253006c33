//! What a client may not set, and what the server sets for it.

use serde_json::{Map, Value, json};

use super::Part;
use crate::meta;
use crate::resource::{GenerationRule, Removal, Resource};

/// Metadata that only the server writes.
const SYSTEM: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Resets what a new object may not bring along.
pub(super) fn prepare_create(resource: &Resource, object: &mut Value) {
    for member in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        meta::set(object, member, Value::Null);
    }
    let keeps_status = !resource.status || resource.group_resource.to_string() == "nodes";
    let Some(members) = object.as_object_mut() else {
        return;
    };
    if !keeps_status {
        members.remove("status");
    }
    match resource.removal {
        Removal::PodGrace => {
            members.insert("status".into(), json!({ "phase": "Pending" }));
        }
        Removal::NamespaceFinalizers => {
            members.insert("status".into(), json!({ "phase": "Active" }));
        }
        Removal::Immediate => {}
    }
    if resource.generation != GenerationRule::None {
        meta::set(object, "generation", json!(1));
    }
}

/// A namespace is held by what clears out its contents. The hold belongs to nobody.
pub(super) fn hold_namespace(resource: &Resource, object: &mut Value) {
    if resource.removal != Removal::NamespaceFinalizers {
        return;
    }
    let spec = &mut object["spec"];
    if !spec.is_object() {
        *spec = json!({});
    }
    let finalizers = &mut spec["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|item| item == "kubernetes")
    {
        list.push(json!("kubernetes"));
    }
}

/// Labels that the server keeps on namespaces.
pub(super) fn label_namespace(resource: &Resource, object: &mut Value) {
    if resource.removal != Removal::NamespaceFinalizers {
        return;
    }
    let name = meta::text(object, "name").to_owned();
    if let Some(meta) = meta::of_mut(object)
        && let Some(labels) = meta
            .entry("labels")
            .or_insert_with(|| json!({}))
            .as_object_mut()
    {
        labels.insert("kubernetes.io/metadata.name".into(), Value::String(name));
    }
}

/// The object to be stored: `new` where the request may write, `old` elsewhere.
pub(super) fn prepare_update(
    resource: &Resource,
    part: Part<'_>,
    old: &Value,
    new: Value,
) -> Value {
    let mut merged = match part {
        Part::Main if resource.status => with_member(new, "status", old.get("status")),
        Part::Main | Part::Whole(_) => new,
        Part::Status => status_update(resource, old, &new),
    };
    for member in SYSTEM {
        let kept = meta::of(old)
            .and_then(|meta| meta.get(member))
            .cloned()
            .unwrap_or_default();
        meta::set(&mut merged, member, kept);
    }
    meta::set(&mut merged, "selfLink", Value::Null);
    if resource.removal == Removal::NamespaceFinalizers {
        let source = if part == Part::Main { old } else { &merged };
        let finalizers = meta::at(source, &["spec", "finalizers"]).and_then(Value::as_array);
        let spec = match finalizers.filter(|list| !list.is_empty()) {
            Some(list) => json!({ "finalizers": list }),
            None => json!({}),
        };
        merged["spec"] = spec;
        if let (Part::Whole(_), Some(members)) = (part, merged.as_object_mut()) {
            put(members, "status", old.get("status").cloned());
        }
    }
    merged
}

fn status_update(resource: &Resource, old: &Value, new: &Value) -> Value {
    let mut merged = with_member(old.clone(), "status", new.get("status"));
    let metadata = if resource.is_custom() {
        let managed = meta::of(new)
            .and_then(|meta| meta.get("managedFields"))
            .cloned();
        let mut metadata = meta::of(old).cloned().unwrap_or_default();
        put(&mut metadata, "managedFields", managed);
        metadata
    } else {
        // Built-in kinds take labels and annotations with a status, but not owners.
        let owners = meta::of(old)
            .and_then(|meta| meta.get("ownerReferences"))
            .cloned();
        let mut metadata = meta::of(new).cloned().unwrap_or_default();
        put(&mut metadata, "ownerReferences", owners);
        metadata
    };
    if let Some(members) = merged.as_object_mut() {
        members.insert("metadata".into(), Value::Object(metadata));
        // The request may be written in another version of the API than the stored object.
        put(members, "apiVersion", new.get("apiVersion").cloned());
    }
    merged
}

fn put(members: &mut Map<String, Value>, member: &str, value: Option<Value>) {
    match value {
        Some(value) => members.insert(member.to_owned(), value),
        None => members.remove(member),
    };
}

fn with_member(mut object: Value, member: &str, value: Option<&Value>) -> Value {
    if let Some(members) = object.as_object_mut() {
        put(members, member, value.cloned());
    }
    object
}

/// Raises the generation if the change asks for it.
pub(super) fn count_generation(resource: &Resource, old: &Value, new: &mut Value) {
    let changed = match resource.generation {
        GenerationRule::None => return,
        GenerationRule::Spec => !same(old.get("spec"), new.get("spec")),
        GenerationRule::AllButMetadata => differs_outside_metadata(resource, old, new),
    };
    let generation = meta::integer(old, "generation").unwrap_or_default();
    meta::set(new, "generation", json!(generation + i64::from(changed)));
}

fn same(left: Option<&Value>, right: Option<&Value>) -> bool {
    left.filter(|value| !value.is_null()) == right.filter(|value| !value.is_null())
}

fn differs_outside_metadata(resource: &Resource, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counts = |member: &str| {
        let aside = matches!(member, "metadata" | "apiVersion" | "kind");
        let apart = resource.status && member == "status";
        !aside && !apart
    };
    old.keys()
        .chain(new.keys())
        .filter(|member| counts(member))
        .any(|member| !same(old.get(member), new.get(member)))
}
