//! Expands a definition of the built-in types into a structural schema, as a CRD embeds it.
//!
//! The result is committed in `data/`; it is made from the `api/openapi-spec/swagger.json` of a Kubernetes release by
//! the example `pod_spec` of this crate. References are inlined, descriptions dropped (the CRD would grow to 1.4 MB and
//! no longer fit a client-side apply), merge keys of patches dropped, and what the released document does not say but
//! the Go types do is added: the defaults of `DEFAULTS`.

use serde_json::{Map, Value, json};

/// What a quantity looks like.
pub const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Definition, member and default, written as JSON.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("AzureDiskVolumeSource", "fsType", "\"ext4\""),
    ("AzureDiskVolumeSource", "readOnly", "false"),
    ("ConfigMapEnvSource", "name", "\"\""),
    ("ConfigMapKeySelector", "name", "\"\""),
    ("ConfigMapProjection", "name", "\"\""),
    ("ConfigMapVolumeSource", "name", "\"\""),
    ("ContainerPort", "protocol", "\"TCP\""),
    ("FileKeySelector", "optional", "false"),
    ("GRPCAction", "service", "\"\""),
    ("ISCSIVolumeSource", "iscsiInterface", "\"default\""),
    ("LocalObjectReference", "name", "\"\""),
    ("RBDVolumeSource", "keyring", "\"/etc/ceph/keyring\""),
    ("RBDVolumeSource", "pool", "\"rbd\""),
    ("RBDVolumeSource", "user", "\"admin\""),
    ("ScaleIOVolumeSource", "fsType", "\"xfs\""),
    ("ScaleIOVolumeSource", "storageMode", "\"ThinProvisioned\""),
    ("SecretEnvSource", "name", "\"\""),
    ("SecretKeySelector", "name", "\"\""),
    ("SecretProjection", "name", "\"\""),
];

/// Keywords that a CRD keeps.
const KEPT: [&str; 9] = [
    "type",
    "format",
    "required",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "minimum",
    "maximum",
];

/// Expands `name`, such as `io.k8s.api.core.v1.PodSpec`; `None` if it, or something it refers to, is not defined.
pub fn expand(definitions: &Map<String, Value>, name: &str) -> Option<Value> {
    match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => return Some(quantity()),
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => return Some(int_or_string()),
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" => return Some(embedded_metadata()),
        _ => {}
    }
    let mut schema = convert(definitions, definitions.get(name)?)?;
    let short = name.rsplit('.').next().unwrap_or(name);
    for (_, member, default) in DEFAULTS
        .iter()
        .filter(|(definition, _, _)| *definition == short)
    {
        let value: Value = serde_json::from_str(default).ok()?;
        schema
            .pointer_mut(&format!("/properties/{member}"))?
            .as_object_mut()?
            .insert("default".to_owned(), value);
    }
    if short == "PodSpec" {
        // Several entries with one address are legal and keep their order.
        let aliases = schema
            .pointer_mut("/properties/hostAliases")?
            .as_object_mut()?;
        aliases.remove("x-kubernetes-list-type");
        aliases.remove("x-kubernetes-list-map-keys");
    }
    Some(schema)
}

fn convert(definitions: &Map<String, Value>, schema: &Value) -> Option<Value> {
    let schema = schema.as_object()?;
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return expand(definitions, reference.rsplit('/').next()?);
    }
    let mut kept = Map::new();
    for keyword in KEPT {
        if let Some(value) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), value.clone());
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let converted = properties
            .iter()
            .map(|(name, schema)| Some((name.clone(), convert(definitions, schema)?)));
        kept.insert(
            "properties".to_owned(),
            Value::Object(converted.collect::<Option<Map<_, _>>>()?),
        );
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), convert(definitions, below)?);
        }
    }
    Some(Value::Object(kept))
}

/// An amount: an integer or a text with an optional suffix.
pub fn quantity() -> Value {
    json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY_PATTERN,
        "x-kubernetes-int-or-string": true,
    })
}

/// An integer or a text.
pub fn int_or_string() -> Value {
    json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true})
}

/// Metadata of an object inside another one.
fn embedded_metadata() -> Value {
    let strings = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "properties": {
            "annotations": strings,
            "finalizers": {"type": "array", "items": {"type": "string"}},
            "labels": strings,
            "name": {"type": "string"},
            "namespace": {"type": "string"},
        },
    })
}
