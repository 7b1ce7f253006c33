//! The `OpenAPI` v2 document: the same schemas as in v3 in the older form, for clients that know no other.
//!
//! Go clients read it in protobuf, in the messages of gnostic's `OpenAPIv2.proto`; everybody else reads JSON. It has
//! definitions and no paths, which is what `kubectl explain` and client-side validation look at.

use serde_json::{Map, Value, json};

/// What references of v3 begin with, and what those of v2 do.
const OLD: &str = "#/definitions/";
const NEW: &str = "#/components/schemas/";

/// The JSON form of a document with these v3 schemas.
pub(super) fn json_document(schemas: Map<String, Value>) -> Value {
    let definitions: Map<String, Value> = schemas
        .into_iter()
        .map(|(name, schema)| (name, converted(schema)))
        .collect();
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": "v1.36.3" },
        "paths": {},
        "definitions": definitions,
    })
}

/// A schema as v2 has it: a lone `allOf` becomes the reference in it, and `oneOf` and `anyOf` do not exist.
fn converted(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            let lone = match map
                .get("allOf")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
            {
                Some([only]) => only.get("$ref").cloned(),
                _ => None,
            };
            if let Some(reference) = lone {
                map.remove("allOf");
                map.insert("$ref".into(), reference);
            }
            if map
                .get("format")
                .is_some_and(|format| format == "int-or-string")
            {
                map.insert("type".into(), "string".into());
            }
            if map.get("type").is_some_and(Value::is_string) || map.contains_key("properties") {
                map.remove("oneOf");
                map.remove("anyOf");
                map.remove("nullable");
            }
            let members = map.into_iter();
            let members = members.map(|(name, member)| (name, converted(member)));
            Value::Object(members.collect())
        }
        Value::Array(items) => items.into_iter().map(converted).collect(),
        Value::String(text) => match text.strip_prefix(NEW) {
            Some(name) => format!("{OLD}{name}").into(),
            None => text.into(),
        },
        other => other,
    }
}

/// The protobuf form of a document in the JSON form.
pub(super) fn protobuf_document(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, 1, &document["swagger"]);
    put_message(&mut out, 2, |info| {
        put_text(info, 1, &document["info"]["title"]);
        put_text(info, 2, &document["info"]["version"]);
    });
    put_message(&mut out, 8, |_| {});
    put_message(&mut out, 9, |definitions| {
        put_named(definitions, &document["definitions"]);
    });
    out
}

/// The schemas of a map, each under its name.
fn put_named(out: &mut Vec<u8>, schemas: &Value) {
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        put_message(out, 1, |named| {
            put_bytes(named, 1, name.as_bytes());
            put_message(named, 2, |out| put_schema(out, schema));
        });
    }
}

fn put_schema(out: &mut Vec<u8>, schema: &Value) {
    for (number, member) in [
        (1, "$ref"),
        (2, "format"),
        (4, "description"),
        (13, "pattern"),
    ] {
        put_text(out, number, &schema[member]);
    }
    put_any(out, 5, schema.get("default"));
    for name in items(&schema["required"]) {
        put_text(out, 19, name);
    }
    for value in items(&schema["enum"]) {
        put_any(out, 20, Some(value));
    }
    match &schema["additionalProperties"] {
        of @ Value::Object(_) => {
            put_message(out, 21, |item| {
                put_message(item, 1, |out| put_schema(out, of));
            });
        }
        Value::Bool(true) => put_message(out, 21, |item| item.extend([2 << 3, 1])),
        _ => {}
    }
    if schema["type"].is_string() {
        put_message(out, 22, |item| put_text(item, 1, &schema["type"]));
    }
    if schema["items"].is_object() {
        let of = &schema["items"];
        put_message(out, 23, |item| {
            put_message(item, 1, |out| put_schema(out, of));
        });
    }
    for part in items(&schema["allOf"]) {
        put_message(out, 24, |out| put_schema(out, part));
    }
    if schema["properties"].is_object() {
        put_message(out, 25, |out| put_named(out, &schema["properties"]));
    }
    for (name, value) in schema.as_object().into_iter().flatten() {
        if name.starts_with("x-") {
            put_message(out, 31, |named| {
                put_bytes(named, 1, name.as_bytes());
                put_any(named, 2, Some(value));
            });
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Any value, as YAML; JSON is YAML.
fn put_any(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(value) = value {
        put_message(out, number, |any| {
            put_bytes(any, 2, value.to_string().as_bytes());
        });
    }
}

fn put_text(out: &mut Vec<u8>, number: u32, text: &Value) {
    if let Some(text) = text.as_str() {
        put_bytes(out, number, text.as_bytes());
    }
}

fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    write(&mut message);
    put_bytes(out, number, &message);
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_number(out, usize::try_from(number << 3 | 2).unwrap_or_default());
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first.
fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}
