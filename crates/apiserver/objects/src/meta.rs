//! Reads and writes the metadata of an object held as a JSON tree.
//!
//! Absent, `null` and empty are one and the same here, as they are in the API.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A time as object metadata shows it: UTC, whole seconds.
pub fn time_text(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

/// The metadata of `object`; `None` if it has none.
pub fn of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

/// The metadata of `object`, created if missing; `None` if `object` is not an object.
pub fn of_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let slot = object
        .as_object_mut()?
        .entry("metadata")
        .or_insert_with(|| json!({}));
    if slot.is_null() {
        *slot = json!({});
    }
    slot.as_object_mut()
}

/// A text member of the metadata; empty if absent.
pub fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    of(object)
        .and_then(|meta| meta.get(member)?.as_str())
        .unwrap_or_default()
}

/// An integer member of the metadata.
pub fn integer(object: &Value, member: &str) -> Option<i64> {
    of(object)?.get(member)?.as_i64()
}

/// Sets a metadata member, or removes it for `null`.
pub fn set(object: &mut Value, member: &str, value: Value) {
    let Some(meta) = of_mut(object) else { return };
    if value.is_null() {
        meta.remove(member);
    } else {
        meta.insert(member.to_owned(), value);
    }
}

/// Removes members that say nothing, as reading them into a typed object does.
pub fn drop_empty(object: &mut Value) {
    let Some(meta) = of_mut(object) else { return };
    meta.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
}

/// The object's finalizers.
pub fn finalizers(object: &Value) -> Vec<&str> {
    of(object)
        .and_then(|meta| meta.get("finalizers")?.as_array())
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// Sets the finalizers, leaving no empty list behind.
pub fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    set(
        object,
        "finalizers",
        if finalizers.is_empty() {
            Value::Null
        } else {
            json!(finalizers)
        },
    );
}

/// True if the object is on its way out.
pub fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The value at a path of member names.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| value.get(step))
}
