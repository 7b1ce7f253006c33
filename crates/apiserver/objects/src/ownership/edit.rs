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

/// Items of both lists: those of the configuration in its order, the others where they stood among
/// them. The order is exactly that of the API server, as clients compare it.
fn merged_items(
    shape: Shape<'_>,
    list: &ListShape<'_>,
    live: &[Value],
    configuration: &[Value],
) -> Vec<Value> {
    let steps = |items: &[Value]| -> Vec<Option<String>> {
        items
            .iter()
            .map(|item| shape.item_step(list, item))
            .collect()
    };
    let (present, wanted) = (steps(live), steps(configuration));
    let place = |list: &[Option<String>], step: &Option<String>| {
        step.as_ref()
            .and_then(|_| list.iter().position(|other| other == step))
    };
    let merge = |at: usize| {
        let old = place(&present, &wanted[at]).map(|old| &live[old]);
        merged(shape.item(), old, &configuration[at])
    };
    let mut shared = (0..wanted.len())
        .filter(|at| place(&present, &wanted[*at]).is_some())
        .peekable();
    let mut items = Vec::with_capacity(live.len() + configuration.len());
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < configuration.len() {
        let twin = present.get(left).and_then(|step| place(&wanted, step));
        if left < live.len() && twin.is_none() {
            items.push(live[left].clone());
            left += 1;
            continue;
        }
        if let Some(twin) = twin {
            // For items of both, the configuration's order counts: this one was taken or will be.
            let out_of_turn =
                right < configuration.len() && shared.peek().is_some_and(|next| *next != twin);
            if out_of_turn {
                left += 1;
                continue;
            }
            left += usize::from(twin <= right);
        }
        if right < configuration.len() {
            items.push(merge(right));
            shared.next_if_eq(&right);
            right += 1;
        }
    }
    items
}

/// `value` without the fields in `gone`; `None` if nothing is left of what had fields.
///
/// An object or list that is emptied stays, empty, where `held` has its path.
pub(super) fn without(
    shape: Shape<'_>,
    value: &Value,
    gone: &FieldSet,
    held: Option<&FieldSet>,
) -> Option<Value> {
    match value {
        Value::Object(members) if !members.is_empty() && !shape.is_whole_map() => {
            let mut kept = Map::new();
            for (name, member) in members {
                let step = format!("f:{name}");
                if gone.owns(&step) {
                    continue;
                }
                let left = match gone.below(&step) {
                    Some(below) => {
                        let held_below = held.and_then(|held| held.below(&step));
                        without(shape.member(name).0, member, below, held_below).or_else(|| {
                            held.is_some_and(|held| held.owns(&step))
                                .then(|| emptied(member))
                        })
                    }
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
                    Some(below) => {
                        let held_below = held.and_then(|held| held.below(&step));
                        kept.extend(without(shape.item(), item, below, held_below));
                    }
                    None => kept.push(item.clone()),
                }
            }
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        other => Some(other.clone()),
    }
}

fn emptied(value: &Value) -> Value {
    if value.is_array() {
        Value::Array(Vec::new())
    } else {
        Value::Object(Map::new())
    }
}
