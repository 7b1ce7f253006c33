//! Fills in defaults and settles explicit nulls.

use serde_json::{Map, Value};

use crate::node::{Additional, Node, Schema};

impl Schema {
    /// Fills in defaults, only inside objects that are present.
    ///
    /// An explicit `null` becomes the default where there is one and disappears where there is none, unless the schema
    /// takes `null` as a value. Items of lists never disappear: a `null` among them is left for validation to refuse.
    pub fn fill_defaults(&self, value: &mut Value) {
        fill(&self.0, value);
    }
}

fn fill(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => fill_object(node, map),
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for item in items {
                replace_null(&schema.0, item);
                fill(&schema.0, item);
            }
        }
        _ => {}
    }
}

fn fill_object(node: &Node, map: &mut Map<String, Value>) {
    if node.below.defaults {
        for (name, schema) in &node.properties {
            if let Some(default) = schema
                .0
                .default
                .as_ref()
                .filter(|_| !map.contains_key(name.as_ref()))
            {
                map.insert(name.to_string(), default.clone());
            }
        }
    }
    map.retain(|name, value| {
        let Some(schema) = member(node, name) else {
            return true;
        };
        replace_null(&schema.0, value);
        if value.is_null() && !schema.0.nullable {
            return false;
        }
        fill(&schema.0, value);
        true
    });
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Schema> {
    match (node.properties.get(name), &node.additional) {
        (Some(schema), _) | (None, Additional::Of(schema)) => Some(schema),
        _ => None,
    }
}

fn replace_null(node: &Node, value: &mut Value) {
    if let (Value::Null, false, Some(default)) = (&*value, node.nullable, &node.default) {
        *value = default.clone();
    }
}
