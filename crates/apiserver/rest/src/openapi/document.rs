//! Writes the document of one API version.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};

use crate::catalog::{Origin, ResourceType, Subresource, schemas};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const REF_PREFIX: &str = "#/components/schemas/";

/// Gives the schema of a custom type.
type CustomSchema<'a> = &'a dyn Fn(&ResourceType) -> Option<Value>;

/// The document of the given types, which are all of one version.
pub(super) fn write(types: &[Arc<ResourceType>], custom_schema: CustomSchema<'_>) -> Value {
    let published = schemas::unpack();
    let mut paths = Map::new();
    let mut components = Map::new();
    let mut open: BTreeSet<String> = [OBJECT_META, LIST_META, DELETE_OPTIONS, STATUS, PATCH, SCALE]
        .map(ToOwned::to_owned)
        .into();
    for kind in types {
        add_paths(kind, &mut paths);
        let name = schema_name(kind);
        if kind.is_builtin() {
            open.insert(name.clone());
        } else if let Some(schema) = custom_schema(kind) {
            components.insert(name.clone(), dress(kind, schema));
        }
        components.insert(format!("{name}List"), list_schema(kind, &name));
    }
    add_reachable(&published, open, &mut components);
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.36.3" },
        "paths": paths,
        "components": { "schemas": components },
    })
}

fn add_reachable(
    published: &Map<String, Value>,
    mut open: BTreeSet<String>,
    components: &mut Map<String, Value>,
) {
    while let Some(name) = open.pop_first() {
        let Some(schema) = published
            .get(&name)
            .filter(|_| !components.contains_key(&name))
        else {
            continue;
        };
        references(schema, &mut open);
        components.insert(name, schema.clone());
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                found.extend(name.strip_prefix(REF_PREFIX).map(ToOwned::to_owned));
            }
            map.values().for_each(|child| references(child, found));
        }
        Value::Array(items) => items.iter().for_each(|child| references(child, found)),
        _ => {}
    }
}

/// The published name, or for custom types the group backwards, as the real server makes it.
fn schema_name(kind: &ResourceType) -> String {
    match kind.origin {
        Origin::Builtin(name) => name.to_owned(),
        Origin::Custom(_) => {
            let mut parts: Vec<&str> = kind.group.split('.').rev().collect();
            parts.push(&kind.version);
            parts.push(&kind.kind);
            parts.join(".")
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REF_PREFIX}{name}") })
}

fn type_of(kind: &ResourceType) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

/// A custom schema with the members every object has.
fn dress(kind: &ResourceType, mut schema: Value) -> Value {
    let described = |text: &str| json!({ "type": "string", "description": text });
    if let Some(map) = schema.as_object_mut() {
        map.insert(
            "x-kubernetes-group-version-kind".into(),
            json!([type_of(kind)]),
        );
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert(
                "apiVersion".into(),
                described("The version of the API that this object is written in."),
            );
            properties.insert("kind".into(), described("The kind of this object."));
            properties.insert(
                "metadata".into(),
                json!({ "allOf": [reference(OBJECT_META)], "description": "What all objects have: names, labels, owners." }),
            );
        }
    }
    schema
}

fn list_schema(kind: &ResourceType, name: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("A list of {} objects.", kind.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "allOf": [reference(LIST_META)] },
            "items": { "type": "array", "items": reference(name) },
        },
        "x-kubernetes-group-version-kind": [
            { "group": kind.group, "version": kind.version, "kind": kind.list_kind },
        ],
    })
}

fn add_paths(kind: &ResourceType, paths: &mut Map<String, Value>) {
    let prefix = if kind.group.is_empty() {
        "/api"
    } else {
        "/apis"
    };
    let base = format!("{prefix}/{}", kind.api_version());
    let collection = if kind.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{base}/{}", kind.plural)
    };
    let object = format!("{collection}/{{name}}");
    if kind.namespaced {
        let all = json!({ "get": operation(kind, "list") });
        paths.insert(format!("{base}/{}", kind.plural), all);
    }
    for subresource in [Subresource::Status, Subresource::Scale] {
        if kind.has(subresource) {
            let path = format!("{object}/{}", subresource.name());
            paths.insert(
                path,
                json!({ "parameters": path_parameters(kind, true), "get": operation(kind, "get") }),
            );
        }
    }
    paths.insert(
        collection,
        json!({
            "parameters": path_parameters(kind, false),
            "get": operation(kind, "list"),
            "post": operation(kind, "post"),
            "delete": operation(kind, "deletecollection"),
        }),
    );
    paths.insert(
        object,
        json!({
            "parameters": path_parameters(kind, true),
            "get": operation(kind, "get"),
            "put": operation(kind, "put"),
            "patch": operation(kind, "patch"),
            "delete": operation(kind, "delete"),
        }),
    );
}

fn path_parameters(kind: &ResourceType, named: bool) -> Value {
    let parameter = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let mut parameters = Vec::new();
    if named {
        parameters.push(parameter("name"));
    }
    if kind.namespaced {
        parameters.push(parameter("namespace"));
    }
    parameters.into()
}

fn operation(kind: &ResourceType, action: &str) -> Value {
    let names: &[&str] = match action {
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        "list" => &[
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "watch",
        ],
        _ => &[],
    };
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
        .collect();
    let answer = if action == "list" {
        format!("{}List", schema_name(kind))
    } else {
        schema_name(kind)
    };
    let mut operation = json!({
        "parameters": parameters,
        "responses": {
            "200": { "description": "OK", "content": { "application/json": { "schema": reference(&answer) } } },
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": type_of(kind),
    });
    match action {
        "post" | "put" => {
            operation["requestBody"] = request_body(&["application/json"], &schema_name(kind));
        }
        "patch" => {
            let mut formats = vec![
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json",
            ];
            if kind.is_builtin() {
                formats.push("application/strategic-merge-patch+json");
            }
            operation["requestBody"] = request_body(&formats, PATCH);
        }
        _ => {}
    }
    operation
}

fn request_body(formats: &[&str], schema: &str) -> Value {
    let content: Map<String, Value> = formats
        .iter()
        .map(|format| ((*format).to_owned(), json!({ "schema": reference(schema) })))
        .collect();
    json!({ "required": true, "content": content })
}
