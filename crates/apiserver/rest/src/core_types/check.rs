//! Checks of the built-in types, with the texts of the real server. Schemas, names and metadata are checked elsewhere.

use kthena_schema::{Fault, FieldPath};
use serde_json::Value;

use super::json::{is_unset, items, text};

mod pod;
mod structural;

/// The types a service may have, sorted.
const SERVICE_TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// The detail of a change that is never allowed.
const IMMUTABLE: &str = "field is immutable";

/// What is wrong with a new object, or with `object` as the successor of `old`.
pub(crate) fn faults(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    match (group, kind) {
        ("", "Pod") => {
            pod::spec(object.get("spec"), &FieldPath::new("spec"), &mut faults);
            if let Some(old) = old {
                pod::update(object, old, &mut faults);
            }
        }
        ("", "Service") => service(object, old, &mut faults),
        ("", "ConfigMap" | "Secret") => keyed_data(kind, object, old, &mut faults),
        ("apps", "Deployment" | "ReplicaSet") => workload(object, old, &mut faults),
        ("apps", "ControllerRevision") => controller_revision(object, old, &mut faults),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            definition(object, old, &mut faults);
        }
        _ => {}
    }
    faults
}

/// Notes a fault if a field that may never change did.
fn same(object: &Value, old: Option<&Value>, pointer: &str, faults: &mut Vec<Fault>) {
    let Some(old) = old else { return };
    let (now, before) = (object.pointer(pointer), old.pointer(pointer));
    if now.unwrap_or(&Value::Null) != before.unwrap_or(&Value::Null) {
        let path = FieldPath::new(pointer.trim_start_matches('/').replace('/', "."));
        faults.push(Fault::invalid(
            path,
            now.cloned().unwrap_or_default(),
            IMMUTABLE,
        ));
    }
}

fn workload(object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    if let Some(replicas) = spec
        .get("replicas")
        .and_then(Value::as_i64)
        .filter(|replicas| *replicas < 0)
    {
        faults.push(Fault::invalid(
            path.field("replicas"),
            replicas,
            "must be greater than or equal to 0",
        ));
    }
    let selector = spec.get("selector").filter(|selector| selector.is_object());
    let Some(selector) = selector else {
        faults.push(Fault::required(path.field("selector"), ""));
        return;
    };
    if selector.as_object().is_some_and(serde_json::Map::is_empty) {
        let detail = "empty selector is invalid for deployment";
        faults.push(Fault::invalid(
            path.field("selector"),
            selector.clone(),
            detail,
        ));
    }
    let template = spec.get("template").unwrap_or(&Value::Null);
    let labels = template
        .pointer("/metadata/labels")
        .cloned()
        .unwrap_or_default();
    if !matches_labels(selector, &labels) {
        let at = path.field("template.metadata.labels");
        faults.push(Fault::invalid(
            at,
            labels,
            "`selector` does not match template `labels`",
        ));
    }
    let at = path.field("template.spec");
    pod::spec(template.get("spec"), &at, faults);
    let policy = text(template, &["spec", "restartPolicy"]);
    if !matches!(policy, "" | "Always") {
        faults.push(Fault::not_supported(
            at.field("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    same(object, old, "/spec/selector", faults);
}

/// Whether `labels` satisfy a label selector in its API form.
fn matches_labels(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let pairs = selector.get("matchLabels").and_then(Value::as_object);
    let pairs_match = pairs
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let expressions_match = items(selector, "matchExpressions").all(|expression| {
        let value = label(text(expression, &["key"]));
        let listed =
            value.is_some_and(|value| items(expression, "values").any(|item| item == value));
        match text(expression, &["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    pairs_match && expressions_match
}

fn service(object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (kind, cluster_ip) = (text(spec, &["type"]), text(spec, &["clusterIP"]));
    if !SERVICE_TYPES.contains(&kind) {
        faults.push(Fault::not_supported(
            path.field("type"),
            kind,
            SERVICE_TYPES,
        ));
    }
    let ports: Vec<&Value> = items(spec, "ports").collect();
    if ports.is_empty() && cluster_ip != "None" && kind != "ExternalName" {
        faults.push(Fault::required(path.field("ports"), ""));
    }
    if kind == "ExternalName" && text(spec, &["externalName"]).is_empty() {
        faults.push(Fault::required(path.field("externalName"), ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = path.field("ports").index(index);
        if ports.len() > 1 && text(port, &["name"]).is_empty() {
            faults.push(Fault::required(at.field("name"), ""));
        }
        pod::port_number(port.get("port"), &at.field("port"), faults);
        let name = text(port, &["name"]);
        if !name.is_empty()
            && ports[..index]
                .iter()
                .any(|other| text(other, &["name"]) == name)
        {
            faults.push(Fault::duplicate(at.field("name"), name));
        }
    }
    let before = old.map_or("", |old| text(old, &["spec", "clusterIP"]));
    if !before.is_empty() && kind != "ExternalName" && before != cluster_ip {
        let detail = "may not change once set";
        faults.push(Fault::invalid(
            path.field("clusterIPs").index(0),
            vec![cluster_ip],
            detail,
        ));
    }
}

fn keyed_data(kind: &str, object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    for member in ["data", "binaryData"] {
        let keys = object
            .get(member)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        for (key, _) in keys.filter(|(key, _)| !is_config_key(key)) {
            let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', \
                or 'KEY_NAME', or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            faults.push(Fault::invalid(
                FieldPath::new(member).key(key),
                key.as_str(),
                detail,
            ));
        }
    }
    if kind == "Secret" {
        same(object, old, "/type", faults);
    }
    let locked = |object: &Value| object.get("immutable") == Some(&Value::Bool(true));
    let Some(old) = old.filter(|old| locked(old)) else {
        return;
    };
    let detail = "field is immutable when `immutable` is set";
    if !locked(object) {
        faults.push(Fault::forbidden(FieldPath::new("immutable"), detail));
    }
    for member in ["data", "binaryData"] {
        if object.get(member) != old.get(member) {
            faults.push(Fault::forbidden(FieldPath::new(member), detail));
        }
    }
}

fn is_config_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=253).contains(&key.len())
        && key.bytes().all(legal)
        && !matches!(key, "." | "..")
        && !key.starts_with("..")
}

fn controller_revision(object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    let revision = object
        .get("revision")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if revision < 0 {
        let detail = "must be greater than or equal to 0";
        faults.push(Fault::invalid(FieldPath::new("revision"), revision, detail));
    }
    if old.is_none() && is_unset(object.get("data")) {
        faults.push(Fault::required(FieldPath::new("data"), "data is mandatory"));
    }
    same(object, old, "/data", faults);
}

fn definition(object: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    let path = FieldPath::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (group, plural) = (text(spec, &["group"]), text(spec, &["names", "plural"]));
    let name = text(object, &["metadata", "name"]);
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        faults.push(Fault::invalid(
            FieldPath::new("metadata.name"),
            name,
            detail,
        ));
    }
    for (member, value) in [
        ("group", group),
        ("names.plural", plural),
        ("names.kind", text(spec, &["names", "kind"])),
    ] {
        if value.is_empty() {
            faults.push(Fault::required(path.field(member), ""));
        }
    }
    if !matches!(text(spec, &["scope"]), "Namespaced" | "Cluster") {
        let at = path.field("scope");
        faults.push(Fault::not_supported(
            at,
            text(spec, &["scope"]),
            &["Cluster", "Namespaced"],
        ));
    }
    let versions: Vec<&Value> = items(spec, "versions").collect();
    let stored = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        faults.push(Fault::invalid(
            path.field("versions"),
            Value::from(versions.len()),
            detail,
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let at = path
            .field("versions")
            .index(index)
            .field("schema.openAPIV3Schema");
        match version
            .pointer("/schema/openAPIV3Schema")
            .filter(|schema| schema.is_object())
        {
            None => faults.push(Fault::required(at, "schemas are required")),
            // A schema that all versions share is shown at its old place.
            Some(schema) if versions.len() == 1 => {
                structural::check(schema, &path.field("validation.openAPIV3Schema"), faults);
            }
            Some(schema) => structural::check(schema, &at, faults),
        }
    }
    for pointer in [
        "/spec/group",
        "/spec/scope",
        "/spec/names/kind",
        "/spec/names/plural",
    ] {
        same(object, old, pointer, faults);
    }
}
