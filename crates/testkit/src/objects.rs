//! Builders for common objects, as JSON, with only the fields a test needs.

use serde_json::{Value, json};

/// A namespace called `name`.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A config map with one entry.
pub fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: value}})
}

/// A node that KWOK plays: ready at once, room for a thousand pods.
pub fn kwok_node(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {crate::control_plane::KWOK_ANNOTATION: crate::control_plane::KWOK_ANNOTATION_VALUE},
            "labels": {"kubernetes.io/hostname": name},
        },
        "status": {
            "allocatable": {"cpu": "1000", "memory": "1000Gi", "pods": "1000", "nvidia.com/gpu": "1000"},
            "capacity": {"cpu": "1000", "memory": "1000Gi", "pods": "1000", "nvidia.com/gpu": "1000"},
        },
    })
}

/// A pod with one container that runs `image`, labelled `app: <name>`.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// A Deployment of `replicas` pods with one container that runs `image`, selected by `app: <name>`.
pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// A Service that selects `app: <name>` and forwards `port` to the same port.
pub fn service(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port}]},
    })
}

/// Gives `object` the namespace it is to be made in.
pub fn in_namespace(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}
