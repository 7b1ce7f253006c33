//! Lists whose items must be unique: sets, and lists of type map by their keys.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::node::{Additional, ListType, Node, Schema};
use crate::path::Trail;

impl Schema {
    /// Finds items that occur more than once in sets and lists of type map.
    pub fn validate_unique(&self, value: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        check(&self.0, value, &Trail::ROOT, &mut faults);
        faults
    }
}

fn check(node: &Node, value: &Value, trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    if !node.below.unique_lists {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                if let Some(schema) = node.properties.get(name.as_str()) {
                    check(&schema.0, member, &trail.field(name), faults);
                } else if let Additional::Of(schema) = &node.additional {
                    check(&schema.0, member, &trail.key(name), faults);
                }
            }
        }
        Value::Array(items) => {
            match node.list_type {
                Some(ListType::Set) => check_set(items, trail, faults),
                Some(ListType::Map) => check_map(node, items, trail, faults),
                _ => {}
            }
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    check(&schema.0, item, &trail.index(index), faults);
                }
            }
        }
        _ => {}
    }
}

fn check_set(items: &[Value], trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    for index in repeated(items.iter().map(Value::to_string)) {
        faults.push(Fault::duplicate(
            trail.index(index).path(),
            items[index].clone(),
        ));
    }
}

fn check_map(node: &Node, items: &[Value], trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    if let Some(index) = items
        .iter()
        .position(|item| !item.is_object() && !item.is_null())
    {
        let detail = "must be an object for an array of list-type map";
        faults.push(Fault::invalid(
            trail.index(index).path(),
            items[index].clone(),
            detail,
        ));
        return;
    }
    let keys: Vec<Value> = items.iter().map(|item| keys_of(node, item)).collect();
    for index in repeated(keys.iter().map(Value::to_string)) {
        faults.push(Fault::duplicate(
            trail.index(index).path(),
            keys[index].clone(),
        ));
    }
}

/// The keys that an item has, as an object.
fn keys_of(node: &Node, item: &Value) -> Value {
    let mut keys = Map::new();
    for key in &node.list_map_keys {
        if let Some(value) = item.get(key.as_ref()) {
            keys.insert(key.to_string(), value.clone());
        }
    }
    Value::Object(keys)
}

/// Indexes of second occurrences; a third one says nothing new.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut indexes = Vec::new();
    for (index, text) in texts.enumerate() {
        let count = seen.entry(text).or_insert(0);
        *count += 1;
        if *count == 2 {
            indexes.push(index);
        }
    }
    indexes
}
