//! Reads values for cells from a tree, with the stand-ins that tables show for what is missing.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age_since;
use crate::meta;

pub(super) const NONE: &str = "<none>";

/// The text at a path; empty if absent.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    meta::at(value, path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The text at a path, or a stand-in.
pub(super) fn text_or<'a>(value: &'a Value, path: &[&str], missing: &'a str) -> &'a str {
    match text(value, path) {
        "" => missing,
        found => found,
    }
}

/// The number at a path; zero if absent.
pub(super) fn count(value: &Value, path: &[&str]) -> i64 {
    meta::at(value, path)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// True if a flag at a path is set.
pub(super) fn flag(value: &Value, path: &[&str]) -> bool {
    meta::at(value, path)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// The items of a list at a path.
pub(super) fn items<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    meta::at(value, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Number of members of an object at a path.
pub(super) fn size(value: &Value, path: &[&str]) -> usize {
    meta::at(value, path)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

/// The time at a path.
pub(super) fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path).parse().ok()
}

/// The object's name as a cell.
pub(super) fn name(value: &Value) -> Value {
    json!(meta::text(value, "name"))
}

/// The object's age as a cell.
pub(super) fn age(value: &Value, now: Timestamp) -> Value {
    json!(age_since(
        time(value, &["metadata", "creationTimestamp"]),
        now
    ))
}

/// `a,b,c`, or a stand-in for nothing.
pub(super) fn joined<'a>(parts: impl Iterator<Item = &'a str>, missing: &str) -> String {
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        missing.to_owned()
    } else {
        parts.join(",")
    }
}

/// `a=b,c=d` of a map of texts, or `<none>`.
pub(super) fn pairs(value: &Value, path: &[&str]) -> String {
    let pairs: Vec<String> = meta::at(value, path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        NONE.to_owned()
    } else {
        pairs.join(",")
    }
}

/// A label selector object as its short text.
pub(super) fn selector(value: &Value, path: &[&str]) -> String {
    let Some(selector) = meta::at(value, path) else {
        return NONE.to_owned();
    };
    let mut terms = Vec::new();
    if size(selector, &["matchLabels"]) > 0 {
        terms.push(pairs(selector, &["matchLabels"]));
    }
    for expression in items(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let values = || {
            joined(
                items(expression, &["values"])
                    .iter()
                    .filter_map(Value::as_str),
                "",
            )
        };
        terms.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values()),
            "NotIn" => format!("{key} notin ({})", values()),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if terms.is_empty() {
        NONE.to_owned()
    } else {
        terms.join(",")
    }
}
