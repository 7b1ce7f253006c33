//! Types and value constraints, in the order and with the texts of the API server.
//!
//! On update, a part of the object that equals its old self is not looked at: what was accepted once stays accepted
//! (validation ratcheting).

mod combinations;
mod numbers;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::correlate::{self, OldItems};
use crate::fault::Fault;
use crate::node::{Additional, Kind, Limits, Node, Schema};

use crate::path::{FieldPath, Trail};

impl Schema {
    /// Checks types and value constraints. With `old`, parts that did not change are not checked.
    pub fn validate(&self, value: &Value, old: Option<&Value>) -> Vec<Fault> {
        let mut faults = Vec::new();
        check(&self.0, value, old, &Trail::ROOT, &mut faults);
        faults
    }
}

fn check(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    if old.is_some_and(|old| old == value) {
        return;
    }
    check_type(node, value, trail, faults);
    let limits = node.limits.as_deref();
    if value.is_null() {
        check_enum(limits, value, trail, faults);
        return;
    }
    if let Some(limits) = limits {
        combinations::check(limits, value, trail, faults);
    }
    match value {
        Value::String(text) => check_text(node, limits, text, trail, faults),
        Value::Number(number) => numbers::check(node, limits, number, trail, faults),
        Value::Array(items) => check_items(node, limits, items, old, trail, faults),
        _ => {}
    }
    check_enum(limits, value, trail, faults);
    if let Value::Object(map) = value {
        check_members(node, limits, map, old, trail, faults);
    }
}

/// `<path> in body <rest>`, the form of all texts here.
fn detail(path: &FieldPath, rest: &str) -> String {
    format!("{} in body {rest}", path.as_str())
}

fn push_invalid(faults: &mut Vec<Fault>, trail: &Trail<'_>, value: impl Into<Value>, rest: &str) {
    let path = trail.path();
    let detail = detail(&path, rest);
    faults.push(Fault::invalid(path, value, detail));
}

fn push_type(faults: &mut Vec<Fault>, trail: &Trail<'_>, wanted: &str, got: &str) {
    let path = trail.path();
    let detail = detail(
        &path,
        &format!("must be of type {wanted}: {}", crate::go::quote(got)),
    );
    faults.push(Fault::type_invalid(path, got, detail));
}

/// A fault about a whole combination of schemas; the API server gives it no path.
fn push_composite(faults: &mut Vec<Fault>, trail: &Trail<'_>, rest: &str) {
    let detail = format!("{} {rest}", crate::go::quote(trail.path().as_str()));
    faults.push(Fault::invalid(FieldPath::root(), "", detail));
}

fn check_type(node: &Node, value: &Value, trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    let wanted = match (node.kind, node.int_or_string) {
        (_, true) => "integer,string",
        (Some(kind), false) => kind.name(),
        (None, false) => return,
    };
    if value.is_null() {
        if !node.nullable {
            push_type(faults, trail, wanted, "null");
        }
        return;
    }
    let fits = match (node.kind, node.int_or_string) {
        (_, true) => value.is_string() || is_integer(value),
        (Some(kind), false) => has_kind(value, kind),
        (None, false) => true,
    };
    if fits {
        return;
    }
    let numeric = matches!(node.kind, Some(Kind::Integer | Kind::Number)) || node.int_or_string;
    match (node.format, value) {
        // Formats of strings hide the type of these from the API server's check.
        (Some(_), Value::String(_) | Value::Array(_)) if !numeric => {}
        (Some(format), Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            push_type(faults, trail, format.name(), implied_format(value));
        }
        _ => push_type(faults, trail, wanted, type_name(value)),
    }
}

fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        _ => false,
    }
}

fn has_kind(value: &Value, kind: Kind) -> bool {
    match kind {
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => is_integer(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn implied_format(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        _ => "",
    }
}

fn check_enum(limits: Option<&Limits>, value: &Value, trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    let Some(limits) = limits.filter(|limits| !limits.one_of_values.is_empty()) else {
        return;
    };
    if limits.one_of_values.contains(value) {
        return;
    }
    let supported: Vec<String> = limits
        .one_of_values
        .iter()
        .map(|allowed| {
            allowed
                .as_str()
                .map_or_else(|| crate::go::json(allowed), str::to_owned)
        })
        .collect();
    faults.push(Fault::not_supported(
        trail.path(),
        value.clone(),
        &supported,
    ));
}

fn check_text(
    node: &Node,
    limits: Option<&Limits>,
    text: &str,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    if let Some(limits) = limits {
        check_length_and_pattern(limits, text, trail, faults);
    }
    if let Some(format) = node.format.filter(|format| !format.accepts(text)) {
        push_type(faults, trail, format.name(), text);
    }
}

/// Only the first of these is reported, as by the API server.
fn check_length_and_pattern(
    limits: &Limits,
    text: &str,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    if limits.max_length.is_some() || limits.min_length.is_some() {
        let length = text.chars().count() as u64;
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            faults.push(Fault::too_long(trail.path(), max));
            return;
        }
        if let Some(min) = limits.min_length.filter(|min| length < *min) {
            push_invalid(
                faults,
                trail,
                text,
                &format!("should be at least {min} chars long"),
            );
            return;
        }
    }
    if let Some(pattern) = limits
        .pattern
        .as_ref()
        .filter(|pattern| !pattern.is_match(text))
    {
        push_invalid(
            faults,
            trail,
            text,
            &format!("should match '{}'", pattern.as_str()),
        );
    }
}

fn check_items(
    node: &Node,
    limits: Option<&Limits>,
    items: &[Value],
    old: Option<&Value>,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    if let Some(schema) = &node.items {
        let old_items = OldItems::new(node, old);
        for (index, item) in items.iter().enumerate() {
            check(
                &schema.0,
                item,
                old_items.find(node, item),
                &trail.index(index),
                faults,
            );
        }
    }
    let Some(limits) = limits else { return };
    let count = items.len() as u64;
    if let Some(min) = limits.min_items.filter(|min| count < *min) {
        push_invalid(
            faults,
            trail,
            count,
            &format!("should have at least {min} items"),
        );
    }
    if let Some(max) = limits.max_items.filter(|max| count > *max) {
        faults.push(Fault::too_many(trail.path(), count, max));
    }
    if limits.unique_items
        && items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].contains(item))
    {
        push_invalid(faults, trail, "", "shouldn't contain duplicates");
    }
}

fn check_members(
    node: &Node,
    limits: Option<&Limits>,
    map: &Map<String, Value>,
    old: Option<&Value>,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    let count = map.len() as u64;
    if let Some(min) = limits
        .and_then(|limits| limits.min_properties)
        .filter(|min| count < *min)
    {
        push_invalid(
            faults,
            trail,
            count,
            &format!("should have at least {min} properties"),
        );
    }
    if let Some(max) = limits
        .and_then(|limits| limits.max_properties)
        .filter(|max| count > *max)
    {
        faults.push(Fault::too_many(trail.path(), count, max));
    }
    for (name, member) in map {
        let trail = trail.field(name);
        let old = correlate::member(old, name);
        match (node.properties.get(name.as_str()), &node.additional) {
            (Some(schema), _) | (None, Additional::Of(schema)) => {
                check(&schema.0, member, old, &trail, faults);
            }
            (None, Additional::Refused) => {
                push_invalid(faults, &trail, name.as_str(), "is a forbidden property");
            }
            (None, Additional::Any | Additional::Unspecified) => {}
        }
    }
    for name in limits.iter().flat_map(|limits| limits.required.iter()) {
        if !map.contains_key(name.as_ref()) {
            faults.push(Fault::required(trail.field(name).path(), ""));
        }
    }
}
