//! The published schemas of the built-in types, packed into the program.
//!
//! The data file is made by `examples/cut_openapi.rs`. It is unpacked when it is needed and dropped again: what stays
//! in memory are the parsed schemas without their descriptions.

use std::io::Read as _;

use flate2::read::GzDecoder;
use kthena_schema::{Definitions, SchemaError};
use serde_json::{Map, Value};

static PACKED: &[u8] = include_bytes!("../../data/openapi.json.gz");

/// All schemas with their descriptions, by name.
pub(crate) fn unpack() -> Map<String, Value> {
    let mut text = Vec::new();
    // The data is part of the program; a test reads it.
    let read = GzDecoder::new(PACKED).read_to_end(&mut text);
    match read.map(|_| serde_json::from_slice(&text)) {
        Ok(Ok(Value::Object(schemas))) => schemas,
        _ => Map::new(),
    }
}

/// The parsed schemas of the built-in types and of the bodies of their subresources.
pub(crate) fn definitions() -> Result<Definitions, SchemaError> {
    let mut schemas = unpack();
    for schema in schemas.values_mut() {
        simplify(schema);
    }
    let roots: Vec<&str> = super::builtin_schema_names().collect();
    Definitions::parse(&schemas, &roots)
}

/// Drops what is not needed to check objects, and turns a lone `allOf` around a reference into the reference itself.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            let reference = match map
                .get("allOf")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
            {
                Some([only]) => only.get("$ref").cloned(),
                _ => None,
            };
            if let Some(reference) = reference {
                map.remove("allOf");
                map.insert("$ref".into(), reference);
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}
