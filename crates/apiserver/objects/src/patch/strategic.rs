//! Strategic merge patch: a merge patch that knows which lists are merged by which key.
//!
//! Directives inside the patch say what a plain merge cannot: `$patch` (replace, delete, merge),
//! `$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>` and `$retainKeys`.

use kthena_schema::{PatchStrategy, Schema};
use serde_json::{Map, Value};

use super::order;
use crate::error::ApiError;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
pub(super) const REMOVE_PREFIX: &str = "$deleteFromPrimitiveList/";
pub(super) const ORDER_PREFIX: &str = "$setElementOrder/";

/// The object after `patch`, with lists merged as `schema` says.
pub fn strategic_merge_patch(
    schema: &Schema,
    object: &Value,
    patch: &Value,
) -> Result<Value, ApiError> {
    let (Some(members), Some(patch)) = (object.as_object(), patch.as_object()) else {
        return Err(ApiError::bad_request(
            "a strategic merge patch needs an object",
        ));
    };
    merge_members(Some(schema), members, patch).map(Value::Object)
}

type Members = Map<String, Value>;

fn merge_members(
    schema: Option<&Schema>,
    original: &Members,
    patch: &Members,
) -> Result<Members, ApiError> {
    match directive(patch)? {
        Some("replace") => {
            let mut replaced = patch.clone();
            replaced.remove(PATCH);
            return Ok(replaced);
        }
        Some("delete") => return Ok(Members::new()),
        _ => {}
    }
    let mut merged = original.clone();
    retain(&mut merged, patch)?;
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let below = schema.and_then(|schema| schema.field(name));
        if value.is_null() {
            merged.remove(name);
            continue;
        }
        let order = patch
            .get(&format!("{ORDER_PREFIX}{name}"))
            .and_then(Value::as_array);
        let value = merge_value(below, merged.get(name), value, order)?;
        merged.insert(name.clone(), value);
    }
    apply_list_directives(schema, &mut merged, patch)?;
    Ok(merged)
}

/// The meaning of a `$patch` member, if there is one.
fn directive(patch: &Members) -> Result<Option<&str>, ApiError> {
    let Some(value) = patch.get(PATCH) else {
        return Ok(None);
    };
    match value.as_str() {
        Some(known @ ("replace" | "delete" | "merge")) => Ok(Some(known)),
        _ => Err(ApiError::bad_request(format!(
            "unknown patch type {value} found in patch"
        ))),
    }
}

/// Clears members that `$retainKeys` does not list.
fn retain(merged: &mut Members, patch: &Members) -> Result<(), ApiError> {
    let Some(kept) = patch.get(RETAIN) else {
        return Ok(());
    };
    let kept: Vec<&str> = kept
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let stray = patch.iter().find(|(name, value)| {
        !name.starts_with('$') && !value.is_null() && !kept.contains(&name.as_str())
    });
    if let Some((name, _)) = stray {
        return Err(ApiError::bad_request(format!(
            "the retainKeys list in the patch does not contain {name:?}, which the patch sets"
        )));
    }
    merged.retain(|name, _| kept.contains(&name.as_str()));
    Ok(())
}

fn merge_value(
    schema: Option<&Schema>,
    original: Option<&Value>,
    patch: &Value,
    order: Option<&Vec<Value>>,
) -> Result<Value, ApiError> {
    let strategy = schema.map(Schema::patch_strategy).unwrap_or_default();
    match patch {
        Value::Object(members) => {
            let empty = Members::new();
            // Without a strategy of its own an object is merged, unless its type says it is one value.
            let whole = is_replaced_map(schema, strategy);
            let original = original
                .and_then(Value::as_object)
                .filter(|_| !whole)
                .unwrap_or(&empty);
            merge_members(schema, original, members).map(Value::Object)
        }
        Value::Array(items) if strategy.merge => {
            let empty = Vec::new();
            let original = original.and_then(Value::as_array).unwrap_or(&empty);
            merge_items(schema, original, items, order).map(Value::Array)
        }
        Value::Array(items) => without_directives(items).map(Value::Array),
        other => Ok(other.clone()),
    }
}

fn is_replaced_map(schema: Option<&Schema>, strategy: PatchStrategy) -> bool {
    let whole = schema.is_some_and(|schema| schema.map_type() == kthena_schema::MapType::Atomic);
    whole && !strategy.merge && !strategy.retain_keys
}

/// A list that replaces another may still say so with a directive among its items.
fn without_directives(items: &[Value]) -> Result<Vec<Value>, ApiError> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        match item.as_object() {
            Some(members) if members.contains_key(PATCH) => {
                if directive(members)? == Some("merge") {
                    kept.push(bare(members));
                }
            }
            _ => kept.push(item.clone()),
        }
    }
    Ok(kept)
}

fn bare(members: &Members) -> Value {
    let mut members = members.clone();
    members.remove(PATCH);
    Value::Object(members)
}

fn merge_items(
    schema: Option<&Schema>,
    original: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Vec<Value>, ApiError> {
    let key = schema.and_then(Schema::patch_merge_key);
    let Some(key) = key.filter(|_| original.iter().chain(patch).any(Value::is_object)) else {
        let mut merged = original.to_vec();
        for item in patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(order::arranged(
            merged,
            order.map_or(patch, Vec::as_slice),
            original,
            None,
        ));
    };
    let mut merged = original.to_vec();
    let mut set = Vec::new();
    let mut replaces = false;
    for item in patch {
        let members = item.as_object().ok_or_else(|| lacks_key(item, key))?;
        match directive(members)? {
            Some("replace") => replaces = true,
            Some("delete") => {
                let id = members.get(key).ok_or_else(|| lacks_key(item, key))?;
                merged.retain(|present| present.get(key) != Some(id));
            }
            _ => set.push(bare(members)),
        }
    }
    if replaces {
        return Ok(set);
    }
    let item_schema = schema.and_then(Schema::item);
    for item in &set {
        let id = item.get(key).ok_or_else(|| lacks_key(item, key))?;
        let place = merged
            .iter()
            .position(|present| present.get(key) == Some(id));
        let value = merge_value(item_schema, place.map(|at| &merged[at]), item, None)?;
        match place {
            Some(at) => merged[at] = value,
            None => merged.push(value),
        }
    }
    Ok(order::arranged(
        merged,
        order.map_or(&set, |order| order),
        original,
        Some(key),
    ))
}

fn lacks_key(item: &Value, key: &str) -> ApiError {
    ApiError::MergeKeyMissing {
        item: order::go_map(item),
        key: key.to_owned(),
    }
}

/// Removals from lists of scalars, and orders of lists that the patch does not otherwise touch.
fn apply_list_directives(
    schema: Option<&Schema>,
    merged: &mut Members,
    patch: &Members,
) -> Result<(), ApiError> {
    for (directive, value) in patch {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(name) = directive.strip_prefix(REMOVE_PREFIX) {
            if let Some(list) = merged.get_mut(name).and_then(Value::as_array_mut) {
                list.retain(|present| !items.contains(present));
            }
        } else if let Some(name) = directive.strip_prefix(ORDER_PREFIX) {
            if patch.contains_key(name) {
                continue;
            }
            let key = schema
                .and_then(|schema| schema.field(name))
                .and_then(Schema::patch_merge_key);
            if let Some(list) = merged.get_mut(name).and_then(Value::as_array_mut) {
                let before = list.clone();
                *list = order::arranged(before.clone(), items, &before, key);
            }
        } else if !matches!(directive.as_str(), PATCH | RETAIN) && directive.starts_with('$') {
            return Err(ApiError::bad_request(format!(
                "unknown directive {directive:?} in patch"
            )));
        }
    }
    Ok(())
}
