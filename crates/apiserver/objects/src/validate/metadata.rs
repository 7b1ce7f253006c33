//! Checks of `metadata`, member by member.

use kthena_schema::go;
use serde_json::{Map, Value};

use super::names::{self, NameRule};
use crate::error::{Fault, FieldPath};
use crate::meta;
use crate::resource::Resource;

/// Largest sum of the lengths of all annotation keys and values.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// Finalizers without a domain that Kubernetes itself knows.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Everything wrong with the metadata of `object`.
pub(super) fn faults(resource: &Resource, object: &Value) -> Vec<Fault> {
    let at = FieldPath::new("metadata");
    let mut faults = Vec::new();
    let rule = NameRule::of(resource);
    let prefix = meta::text(object, "generateName");
    if !prefix.is_empty() {
        let path = at.field("generateName");
        let texts = rule.faults(prefix, true);
        faults.extend(
            texts
                .into_iter()
                .map(|text| Fault::invalid(path.clone(), prefix, text)),
        );
    }
    let name = meta::text(object, "name");
    if name.is_empty() {
        faults.push(Fault::required(
            at.field("name"),
            "name or generateName is required",
        ));
    } else {
        let texts = rule.faults(name, false);
        faults.extend(
            texts
                .into_iter()
                .map(|text| Fault::invalid(at.field("name"), name, text)),
        );
    }
    let Some(metadata) = meta::of(object) else {
        return faults;
    };
    faults.extend(label_faults(metadata, &at));
    faults.extend(annotation_faults(metadata, &at));
    faults.extend(owner_faults(metadata, &at));
    // Custom resources and their definitions take any qualified name, core kinds only well-known or prefixed ones.
    let core = !resource.is_custom() && resource.group() != "apiextensions.k8s.io";
    faults.extend(finalizer_faults(metadata, &at, core));
    faults
}

fn entries<'a>(
    metadata: &'a Map<String, Value>,
    member: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    metadata
        .get(member)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn label_faults(metadata: &Map<String, Value>, at: &FieldPath) -> Vec<Fault> {
    let path = at.field("labels");
    let mut faults = Vec::new();
    for (key, value) in entries(metadata, "labels") {
        for text in names::qualified_name(key) {
            faults.push(Fault::invalid(path.clone(), key.as_str(), text));
        }
        let value = value.as_str().unwrap_or_default();
        for text in names::label_value(value) {
            faults.push(Fault::invalid(path.clone(), value, text));
        }
    }
    faults
}

fn annotation_faults(metadata: &Map<String, Value>, at: &FieldPath) -> Vec<Fault> {
    let path = at.field("annotations");
    let mut faults = Vec::new();
    let mut size = 0;
    for (key, value) in entries(metadata, "annotations") {
        // Keys of annotations may have capital letters in their domain.
        for text in names::qualified_name(&key.to_lowercase()) {
            faults.push(Fault::invalid(path.clone(), key.as_str(), text));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        faults.push(Fault::too_long(path, MAX_ANNOTATIONS as u64));
    }
    faults
}

fn owner_faults(metadata: &Map<String, Value>, at: &FieldPath) -> Vec<Fault> {
    let path = at.field("ownerReferences");
    let mut faults = Vec::new();
    let mut controller: Option<String> = None;
    for owner in metadata
        .get("ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |member: &str| {
            owner
                .get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        for (member, rule) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(member).is_empty() {
                faults.push(Fault::invalid(path.field(member), "", rule));
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            faults.push(Fault::invalid(
                path.clone(),
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let name = text("name");
            if let Some(first) = &controller {
                let rule = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                faults.push(Fault::invalid(path.clone(), owner.clone(), rule));
            } else {
                controller = Some(name.to_owned());
            }
        }
    }
    faults
}

fn finalizer_faults(metadata: &Map<String, Value>, at: &FieldPath, core: bool) -> Vec<Fault> {
    let path = at.field("finalizers");
    let mut faults = Vec::new();
    let held: Vec<&str> = metadata
        .get("finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (index, finalizer) in held.iter().enumerate() {
        let at = path.index(index);
        for text in names::qualified_name(finalizer) {
            faults.push(Fault::invalid(at.clone(), *finalizer, text));
        }
        if core && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(finalizer) {
            let rule = "name is neither a standard finalizer name nor is it fully qualified";
            faults.push(Fault::invalid(at, *finalizer, rule));
        }
    }
    if held.contains(&"orphan") && held.contains(&"foregroundDeletion") {
        let value = Value::from(held.clone());
        faults.push(Fault::invalid(
            path,
            value,
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
    faults
}

/// What a change of metadata may not do.
pub(super) fn change_faults(old: &Value, new: &Value) -> Vec<Fault> {
    if !meta::is_deleting(old) {
        return Vec::new();
    }
    let before = meta::finalizers(old);
    let mut added: Vec<&str> = meta::finalizers(new)
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .collect();
    added.sort_unstable();
    if added.is_empty() {
        return Vec::new();
    }
    let listed: Vec<String> = added.iter().map(|finalizer| go::quote(finalizer)).collect();
    let rule = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        listed.join(", ")
    );
    vec![Fault::forbidden(
        FieldPath::new("metadata.finalizers"),
        rule,
    )]
}
