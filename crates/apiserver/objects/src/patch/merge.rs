//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

/// Merges `patch` into `target`: `null` removes, objects merge, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(merged) = target.as_object_mut() else {
        return;
    };
    for (member, value) in members {
        if value.is_null() {
            merged.remove(member);
        } else {
            merge_patch(merged.entry(member.as_str()).or_insert(Value::Null), value);
        }
    }
}
