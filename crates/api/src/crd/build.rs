//! The vocabulary that schemas are written in.

use serde_json::{Map, Value, json};

/// Adds or replaces keywords.
pub(super) fn with(mut schema: Value, keywords: Value) -> Value {
    if let (Value::Object(schema), Value::Object(keywords)) = (&mut schema, keywords) {
        schema.extend(keywords);
    }
    schema
}

/// Says what a field is for.
pub(super) fn about(text: &str, schema: Value) -> Value {
    with(schema, json!({"description": text}))
}

/// An object with these members.
pub(super) fn object<const N: usize>(members: [(&str, Value); N], required: &[&str]) -> Value {
    let members: Map<String, Value> = members
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    let mut schema = json!({"type": "object"});
    if !members.is_empty() {
        schema["properties"] = Value::Object(members);
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

pub(super) fn string() -> Value {
    json!({"type": "string"})
}

pub(super) fn boolean() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn int32() -> Value {
    json!({"type": "integer", "format": "int32"})
}

pub(super) fn int64() -> Value {
    json!({"type": "integer", "format": "int64"})
}

/// A 32-bit integer with inclusive bounds.
pub(super) fn bounded(minimum: i64, maximum: i64) -> Value {
    with(int32(), json!({"minimum": minimum, "maximum": maximum}))
}

/// A 32-bit integer with a lower bound.
pub(super) fn at_least(minimum: i64) -> Value {
    with(int32(), json!({"minimum": minimum}))
}

/// One of these texts.
pub(super) fn one_of(values: &[&str]) -> Value {
    json!({"type": "string", "enum": values})
}

pub(super) fn list(items: Value) -> Value {
    keywords([("type", "array".into()), ("items", items)])
}

pub(super) fn map(values: Value) -> Value {
    keywords([("type", "object".into()), ("additionalProperties", values)])
}

fn keywords<const N: usize>(keywords: [(&str, Value); N]) -> Value {
    let keywords = keywords
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(keywords.collect())
}

/// Sets the default.
pub(super) fn default(value: impl Into<Value>, schema: Value) -> Value {
    with(schema, json!({"default": value.into()}))
}

/// Any JSON value, kept as it is.
pub(super) fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

/// A rule and what is said when it does not hold.
pub(super) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// Adds rules.
pub(super) fn rules<const N: usize>(rules: [Value; N], schema: Value) -> Value {
    with(
        schema,
        keywords([("x-kubernetes-validations", Value::Array(rules.into()))]),
    )
}

/// The root of a resource.
pub(super) fn resource(description: &str, spec: Value, status: Value, required: &[&str]) -> Value {
    let schema = object(
        [
            ("apiVersion", string()),
            ("kind", string()),
            ("metadata", json!({"type": "object"})),
            ("spec", spec),
            ("status", status),
        ],
        required,
    );
    about(description, schema)
}

/// A column of `kubectl get`.
pub(super) fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    let mut column = json!({"name": name, "type": kind, "jsonPath": path});
    if !description.is_empty() {
        column["description"] = json!(description);
    }
    column
}

/// The column every kind but one ends with.
pub(super) fn age() -> Value {
    column("Age", "date", ".metadata.creationTimestamp", "")
}
