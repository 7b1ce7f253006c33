//! Fragments that several kinds share.

use serde_json::{Value, json};

use super::build::{about, int64, list, map, object, one_of, string, with};

const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const CONDITION_TYPE: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";

/// A list of conditions. Only some kinds merge it by type.
pub(super) fn conditions(merged_by_type: bool) -> Value {
    let condition = object(
        [
            (
                "lastTransitionTime",
                json!({"type": "string", "format": "date-time"}),
            ),
            ("message", with(string(), json!({"maxLength": 32768}))),
            ("observedGeneration", with(int64(), json!({"minimum": 0}))),
            (
                "reason",
                with(
                    string(),
                    json!({"minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"}),
                ),
            ),
            ("status", one_of(&["True", "False", "Unknown"])),
            (
                "type",
                with(
                    string(),
                    json!({"maxLength": 316, "pattern": CONDITION_TYPE}),
                ),
            ),
        ],
        &["lastTransitionTime", "message", "reason", "status", "type"],
    );
    let conditions = about("What holds, and since when.", list(condition));
    if merged_by_type {
        with(
            conditions,
            json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        )
    } else {
        conditions
    }
}

/// Generation that a status refers to.
pub(super) fn observed_generation() -> Value {
    about("Generation that this status refers to.", int64())
}

/// A selector of objects by labels.
pub(super) fn label_selector() -> Value {
    let expression = object(
        [
            ("key", string()),
            ("operator", string()),
            (
                "values",
                with(list(string()), json!({"x-kubernetes-list-type": "atomic"})),
            ),
        ],
        &["key", "operator"],
    );
    let selector = object(
        [
            (
                "matchExpressions",
                with(
                    list(expression),
                    json!({"x-kubernetes-list-type": "atomic"}),
                ),
            ),
            ("matchLabels", map(string())),
        ],
        &[],
    );
    with(selector, json!({"x-kubernetes-map-type": "atomic"}))
}

/// A reference to an object; nothing in it is required.
pub(super) fn object_reference() -> Value {
    let members = [
        "apiVersion",
        "fieldPath",
        "kind",
        "name",
        "namespace",
        "resourceVersion",
        "uid",
    ];
    with(
        object(members.map(|name| (name, string())), &[]),
        json!({"x-kubernetes-map-type": "atomic"}),
    )
}

/// A key of a Secret.
pub(super) fn secret_key_selector() -> Value {
    let selector = object(
        [
            ("key", string()),
            ("name", with(string(), json!({"default": ""}))),
            ("optional", json!({"type": "boolean"})),
        ],
        &["key"],
    );
    with(selector, json!({"x-kubernetes-map-type": "atomic"}))
}

/// A Gateway, or one listener of it.
pub(super) fn parent_reference() -> Value {
    let or_empty = format!("^$|{DNS_SUBDOMAIN}");
    object(
        [
            (
                "group",
                json!({"type": "string", "default": "gateway.networking.k8s.io", "maxLength": 253, "pattern": or_empty}),
            ),
            (
                "kind",
                json!({"type": "string", "default": "Gateway", "minLength": 1, "maxLength": 63,
                       "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"}),
            ),
            (
                "name",
                json!({"type": "string", "minLength": 1, "maxLength": 253}),
            ),
            (
                "namespace",
                json!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": DNS_LABEL}),
            ),
            (
                "port",
                json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535}),
            ),
            (
                "sectionName",
                json!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": DNS_SUBDOMAIN}),
            ),
        ],
        &["name"],
    )
}

/// Conditions on a request.
pub(super) fn model_match() -> Value {
    let text = |description: &str| {
        let members = [
            (
                "exact",
                about("The whole text; wins over the others.", string()),
            ),
            (
                "prefix",
                about("The start of the text; wins over `regex`.", string()),
            ),
            (
                "regex",
                about("RE2 syntax, searched anywhere in the text.", string()),
            ),
        ];
        about(description, object(members, &[]))
    };
    let body = object(
        [(
            "model",
            about("Exact value of the request field `model`.", string()),
        )],
        &[],
    );
    object(
        [
            (
                "headers",
                about(
                    "By header name, in any case; all must match.",
                    map(text("How the value is compared.")),
                ),
            ),
            ("uri", text("On the URL path.")),
            ("body", about("On the request body.", body)),
        ],
        &[],
    )
}
