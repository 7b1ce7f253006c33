//! Merges an applied configuration into an object, and removes fields from one.

use serde_json::{Map, Value};

use super::set::FieldSet;
use super::shape::{ListShape, Shape};

/// `live` with everything `configuration` says.
pub(super) fn merged(shape: Shape<'_>, live: Option<&Value>, configuration: &Value) -> Value {
    match (live, configuration) {
        (Some(Value::Object(live)), Value::Object(configuration)) if !shape.is_whole_map() => {
            let mut members = live.clone();
            for (name, value) in configuration {
                let (below, _) = shape.member(name);
                let value = merged(below, live.get(name), value);
                members.insert(name.clone(), value);
            }
            Value::Object(members)
        }
        (Some(Value::Array(live)), Value::Array(configuration)) => {
            let list = shape.list();
            if list == ListShape::Whole {
                Value::Array(configuration.clone())
            } else {
                Value::Array(merged_items(shape, &list, live, configuration))
            }
        }
        _ => configuration.clone(),
    }
}

/// Items of both: those of the configuration in its order, the others where they were between them.
fn merged_items(
    shape: Shape<'_>,
    list: &ListShape<'_>,
    live: &[Value],
    configuration: &[Value],
) -> Vec<Value> {
    let step = |item: &Value| shape.item_step(list, item);
    let wanted: Vec<Option<String>> = configuration.iter().map(step).collect();
    let present: Vec<Option<String>> = live.iter().map(step).collect();
    let mut items = Vec::with_capacity(live.len() + configuration.len());
    let mut next = 0;
    for (at, item) in live.iter().enumerate() {
        let place = present[at]
            .as_ref()
            .and_then(|step| wanted.iter().position(|other| other.as_ref() == Some(step)));
        let Some(place) = place else {
            items.push(item.clone());
            continue;
        };
        // Everything the configuration lists up to here comes first, in its order.
        while next <= place {
            let old = wanted[next]
                .as_ref()
                .and_then(|step| {
                    present
                        .iter()
                        .position(|other| other.as_ref() == Some(step))
                })
                .map(|at| &live[at]);
            items.push(merged(shape.item(), old, &configuration[next]));
            next += 1;
        }
    }
    for item in &configuration[next..] {
        items.push(item.clone());
    }
    items
}

/// `value` without the fields in `gone`; `None` if nothing is left of what had fields.
pub(super) fn without(shape: Shape<'_>, value: &Value, gone: &FieldSet) -> Option<Value> {
    match value {
        Value::Object(members) if !members.is_empty() && !shape.is_whole_map() => {
            let mut kept = Map::new();
            for (name, member) in members {
                let step = format!("f:{name}");
                if gone.owns(&step) {
                    continue;
                }
                let left = match gone.below(&step) {
                    Some(below) => without(shape.member(name).0, member, below),
                    None => Some(member.clone()),
                };
                if let Some(left) = left {
                    kept.insert(name.clone(), left);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) if !items.is_empty() => {
            let list = shape.list();
            if list == ListShape::Whole {
                return Some(value.clone());
            }
            let mut kept = Vec::new();
            for item in items {
                let Some(step) = shape.item_step(&list, item) else {
                    kept.push(item.clone());
                    continue;
                };
                if gone.owns(&step) {
                    continue;
                }
                match gone.below(&step) {
                    Some(below) => kept.extend(without(shape.item(), item, below)),
                    None => kept.push(item.clone()),
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        other => Some(other.clone()),
    }
}
