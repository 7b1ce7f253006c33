//! Removes what a schema does not know.

use serde_json::{Map, Value};

use crate::node::{Additional, Node, Schema};
use crate::path::{FieldPath, Trail};

/// Members that every resource has, whatever its schema says.
const RESOURCE_MEMBERS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Removes every member that the schema does not specify and tells their paths, sorted within each object.
    ///
    /// Members stay below `x-kubernetes-preserve-unknown-fields`; a resource keeps `apiVersion`, `kind` and `metadata`.
    pub fn prune(&self, value: &mut Value) -> Vec<FieldPath> {
        let mut dropped = Vec::new();
        prune(Some(&self.0), value, &Trail::ROOT, &mut dropped);
        dropped
    }
}

fn prune(node: Option<&Node>, value: &mut Value, trail: &Trail<'_>, dropped: &mut Vec<FieldPath>) {
    match value {
        Value::Object(map) => prune_object(node, map, trail, dropped),
        Value::Array(items) => prune_items(node, items, trail, dropped),
        _ => {}
    }
}

fn prune_items(
    node: Option<&Node>,
    items: &mut [Value],
    trail: &Trail<'_>,
    dropped: &mut Vec<FieldPath>,
) {
    let schema = node
        .and_then(|node| node.items.as_ref())
        .map(|schema| schema.0.as_ref());
    if schema.is_none() && node.is_some_and(|node| node.preserve_unknown) {
        return;
    }
    for (index, item) in items.iter_mut().enumerate() {
        prune(schema, item, &trail.index(index), dropped);
    }
}

fn prune_object(
    node: Option<&Node>,
    map: &mut Map<String, Value>,
    trail: &Trail<'_>,
    dropped: &mut Vec<FieldPath>,
) {
    map.retain(|name, value| {
        let Some(node) = node else {
            dropped.push(trail.field(name).path());
            return false;
        };
        if node.embedded_resource && RESOURCE_MEMBERS.contains(&name.as_str()) {
            return true;
        }
        if let Some(schema) = node.properties.get(name.as_str()) {
            prune(Some(&schema.0), value, &trail.field(name), dropped);
            return true;
        }
        match &node.additional {
            Additional::Of(schema) => prune(Some(&schema.0), value, &trail.field(name), dropped),
            Additional::Any => {}
            Additional::Unspecified | Additional::Refused if node.preserve_unknown => {}
            Additional::Unspecified | Additional::Refused => {
                dropped.push(trail.field(name).path());
                return false;
            }
        }
        true
    });
}
