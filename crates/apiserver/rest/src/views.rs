//! One stored object in the versions it is served in.
//!
//! Events are stored in their core form and served in two; a custom resource is stored in its storage version, and
//! versions differ by name only, since there is no conversion webhook here. All other objects are served as stored.

use serde_json::Value;

use crate::catalog::ResourceType;

/// Members of `events.k8s.io` events with their names in core events.
const EVENT_MEMBERS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

/// True if objects of `kind` are served byte for byte as they are stored.
pub(crate) fn is_direct(kind: &ResourceType) -> bool {
    match kind.custom() {
        Some(custom) => custom.stored_api_version == kind.api_version(),
        None => kind.group != "events.k8s.io",
    }
}

/// A stored object as `kind` shows it.
pub(crate) fn shown(kind: &ResourceType, mut stored: Value) -> Value {
    if is_direct(kind) {
        return stored;
    }
    if kind.is_builtin() {
        rename(&mut stored, |(newer, core)| (core, newer));
    }
    stored["apiVersion"] = kind.api_version().into();
    stored
}

/// An object written as `kind`, as it is stored.
pub(crate) fn stored(kind: &ResourceType, mut shown: Value) -> Value {
    if is_direct(kind) || !shown.is_object() {
        return shown;
    }
    let api_version = if let Some(custom) = kind.custom() {
        custom.stored_api_version.clone()
    } else {
        rename(&mut shown, |pair| pair);
        "v1".to_owned()
    };
    shown["apiVersion"] = api_version.into();
    shown
}

fn rename(
    event: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(map) = event.as_object_mut() else {
        return;
    };
    for pair in EVENT_MEMBERS {
        let (from, to) = direction(*pair);
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
