//! Checks that the schema of a definition is structural: every value has a type, and says so outside of combinations.

use kthena_schema::{Fault, FieldPath};
use serde_json::{Map, Value};

/// Where a schema stands, as the fault about its missing type says it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Root,
    Field,
    Item,
}

impl Place {
    const fn missing_type(self) -> &'static str {
        match self {
            Self::Root => "must not be empty at the root",
            Self::Field => "must not be empty for specified object fields",
            Self::Item => "must not be empty for specified array items",
        }
    }
}

/// Notes what keeps `schema` at `path` from being structural.
pub(super) fn check(schema: &Value, path: &FieldPath, faults: &mut Vec<Fault>) {
    node(schema, path, Place::Root, faults);
}

fn node(schema: &Value, path: &FieldPath, place: Place, faults: &mut Vec<Fault>) {
    let Some(map) = schema.as_object() else {
        return;
    };
    let text = |member: &str| map.get(member).and_then(Value::as_str).unwrap_or_default();
    let flag = |member: &str| map.get(member) == Some(&Value::Bool(true));
    let free = flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    match (place, text("type")) {
        (Place::Root, kind) if !matches!(kind, "" | "object") => {
            faults.push(Fault::invalid(
                path.field("type"),
                kind,
                "must be object at the root",
            ));
        }
        (_, "") if matches!(place, Place::Root) || !free => {
            faults.push(Fault::required(path.field("type"), place.missing_type()));
        }
        _ => {}
    }
    if flag("uniqueItems") {
        faults.push(Fault::forbidden(
            path.field("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    children(map, path, faults);
}

fn children(map: &Map<String, Value>, path: &FieldPath, faults: &mut Vec<Fault>) {
    let properties = map.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        node(
            schema,
            &path.field("properties").key(name),
            Place::Field,
            faults,
        );
    }
    if let Some(items) = map.get("items").filter(|items| items.is_object()) {
        node(items, &path.field("items"), Place::Item, faults);
    }
    if let Some(additional) = map
        .get("additionalProperties")
        .filter(|schema| schema.is_object())
    {
        node(
            additional,
            &path.field("additionalProperties"),
            Place::Field,
            faults,
        );
    }
}
