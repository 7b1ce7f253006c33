//! Defaults of the built-in types, after the generic ones of their schemas.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    json::{fill, fill_positive, items_mut, object_mut, text, within},
    pod_spec,
};

/// Fills `object` as the API server does whenever it reads one, on create and on update alike.
pub(crate) fn fill_defaults(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => {
            if let Some(spec) = object.get_mut("spec") {
                pod_spec::fill_spec(spec);
                pod_spec::fill_pod_only(spec);
            }
        }
        ("", "Service") => service(object),
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "PersistentVolumeClaim") => {
            fill_member(object, "spec", |spec| {
                fill(spec, "volumeMode", "Filesystem");
            });
            fill_member(object, "status", |status| fill(status, "phase", "Pending"));
        }
        ("apps", "Deployment") => fill_member(object, "spec", deployment_spec),
        ("apps", "ReplicaSet") => fill_member(object, "spec", workload_spec),
        ("discovery.k8s.io", "EndpointSlice") => {
            for port in items_mut(object, "ports") {
                fill(port, "protocol", "TCP");
                if let Some(port) = port.as_object_mut() {
                    port.entry("name").or_insert_with(|| "".into());
                }
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource_definition(object),
        _ => {}
    }
}

/// Makes sure that `member` is an object and passes it on.
fn fill_member(object: &mut Value, member: &str, rule: impl FnOnce(&mut Value)) {
    fill(object, member, json!({}));
    within(object, member, rule);
}

fn workload_spec(spec: &mut Value) {
    fill(spec, "replicas", 1);
    if let Some(template) = spec.pointer_mut("/template/spec") {
        pod_spec::fill_spec(template);
    }
}

fn deployment_spec(spec: &mut Value) {
    workload_spec(spec);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    fill_member(spec, "strategy", |strategy| {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, &["type"]) == "RollingUpdate" {
            fill_member(strategy, "rollingUpdate", |rolling| {
                fill(rolling, "maxUnavailable", "25%");
                fill(rolling, "maxSurge", "25%");
            });
        }
    });
}

fn service(object: &mut Value) {
    fill_member(object, "status", |status| {
        fill(status, "loadBalancer", json!({}));
    });
    fill_member(object, "spec", service_spec);
}

fn service_spec(spec: &mut Value) {
    fill(spec, "sessionAffinity", "None");
    fill(spec, "type", "ClusterIP");
    if text(spec, &["type"]) != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if matches!(text(spec, &["type"]), "LoadBalancer" | "NodePort") {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    for port in items_mut(spec, "ports") {
        fill(port, "protocol", "TCP");
        let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
        fill_positive(port, "targetPort", number);
    }
}

/// `stringData` is write-only: it is encoded into `data` and forgotten.
fn secret(object: &mut Value) {
    fill(object, "type", "Opaque");
    let Some(Value::Object(plain)) = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
    else {
        return;
    };
    let encoded: BTreeMap<String, String> = plain
        .into_iter()
        .map(|(name, value)| (name, STANDARD.encode(value.as_str().unwrap_or_default())))
        .collect();
    if encoded.is_empty() {
        return;
    }
    fill(object, "data", json!({}));
    if let Some(data) = object_mut(object, "data") {
        data.extend(
            encoded
                .into_iter()
                .map(|(name, value)| (name, value.into())),
        );
    }
}

/// Every namespace carries its own name as a label, so that selectors can name it.
fn namespace(object: &mut Value) {
    let name = text(object, &["metadata", "name"]).to_owned();
    if name.is_empty() {
        return;
    }
    fill_member(object, "metadata", |metadata| {
        fill(metadata, "labels", json!({}));
        if let Some(labels) = object_mut(metadata, "labels") {
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
        }
    });
    fill_member(object, "status", |status| fill(status, "phase", "Active"));
}

fn custom_resource_definition(object: &mut Value) {
    fill_member(object, "spec", |spec| {
        fill_member(spec, "conversion", |conversion| {
            fill(conversion, "strategy", "None");
        });
        fill_member(spec, "names", |names| {
            let kind = text(names, &["kind"]).to_owned();
            if !kind.is_empty() {
                fill(names, "singular", kind.to_lowercase());
                fill(names, "listKind", format!("{kind}List"));
            }
        });
    });
}
