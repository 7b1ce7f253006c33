//! The canonical form of a role: two roles with the same meaning have the same text.
//!
//! Counts that are scaled or that only steer a rollout are left out. What a typed Go client drops or adds when it
//! writes an object (nulls, empty lists, false where false is the default) is dropped, and quantities are compared
//! by value, so that neither a round trip through another controller nor a library upgrade looks like a change.

use kthena_api::model_serving::Role;
use serde_json::{Map, Value};

use crate::quantity;

/// Members of a role that are not part of its template.
const STEERING: [&str; 3] = ["replicas", "maxUnavailable", "partition"];
/// Maps whose values are the user's, empty or not.
const VERBATIM: [&str; 6] = [
    "labels",
    "annotations",
    "nodeSelector",
    "matchLabels",
    "volumeAttributes",
    "userAnnotations",
];
/// Members where an empty value differs from none.
const MEANINGFUL_WHEN_EMPTY: [&str; 3] = ["namespaceSelector", "labelSelector", "storageClassName"];
/// Members where `false` or 0 is the same as none: those that Go's types hold by value and leave out when zero.
const DEFAULT_WHEN_ZERO: [&str; 17] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "hostPort",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "chapAuthDiscovery",
    "chapAuthSession",
    "sslEnabled",
    "partition",
];
/// Maps of quantities.
const QUANTITY_MAPS: [&str; 3] = ["limits", "requests", "overhead"];
/// Single quantities.
const QUANTITIES: [&str; 2] = ["sizeLimit", DIVISOR];
/// A quantity that Go's types hold by value and write as `"0"` when there is none.
const DIVISOR: &str = "divisor";

/// Canonical JSON text of a role's template.
pub(crate) fn role(role: &Role) -> String {
    // Only strings as keys and no failing number in it: a role always has a JSON form.
    let mut value = serde_json::to_value(role).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.retain(|key, _| !STEERING.contains(&key.as_str()));
        clean_object(members);
    }
    value.to_string()
}

fn clean_object(members: &mut Map<String, Value>) {
    members.retain(|key, value| {
        let key = key.as_str();
        if VERBATIM.contains(&key) {
            return !is_empty(value);
        }
        if QUANTITY_MAPS.contains(&key) {
            clean_quantities(value);
        } else if QUANTITIES.contains(&key) {
            if key == DIVISOR && quantity::read(value) == Some(0) {
                return false;
            }
            clean_quantity(value);
        } else {
            clean(value);
        }
        if MEANINGFUL_WHEN_EMPTY.contains(&key) {
            return !value.is_null();
        }
        let is_default = match value {
            Value::Bool(false) => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            _ => false,
        };
        !(is_empty(value) || is_default && DEFAULT_WHEN_ZERO.contains(&key))
    });
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(members) => clean_object(members),
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn clean_quantities(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(clean_quantity);
    }
}

fn clean_quantity(value: &mut Value) {
    if let Some(nanos) = quantity::read(value) {
        *value = Value::String(format!("{nanos}n"));
    }
}

#[cfg(test)]
mod tests;
