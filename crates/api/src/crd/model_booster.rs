//! CRD of `ModelBooster`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, age, anything, bounded, column, default, list, object, one_of, resource, string, with,
};
use super::{common, schemas};

const MOST_REPLICAS: i64 = 1_000_000;
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

pub(super) fn definition() -> Definition {
    let status = object(
        [
            ("conditions", common::conditions(true)),
            ("observedGeneration", common::observed_generation()),
        ],
        &[],
    );
    let schema = resource(
        "A model and the backend that serves it.",
        spec(),
        about("What was last observed.", status),
        &[],
    );
    Definition::workload("ModelBooster", "modelboosters", schema).columns(vec![
        column(
            "Active",
            "string",
            ".status.conditions[?(@.type=='Active')].status",
            "Whether the model booster is active",
        ),
        age(),
    ])
}

fn spec() -> Value {
    let name = with(string(), json!({"maxLength": 64, "pattern": NAME}));
    let members = [
        (
            "name",
            about("Name that clients use; absent = the object's name.", name),
        ),
        ("owner", about("Stored, without effect.", string())),
        (
            "modelMatch",
            about(
                "Condition of the generated route's one rule.",
                common::model_match(),
            ),
        ),
        ("backend", about("What serves the model.", backend())),
    ];
    about("What is asked for.", object(members, &["backend"]))
}

/// A part of the pod schema, so that both agree.
fn pod_part(pointer: &str) -> Value {
    schemas::pod_spec()
        .pointer(pointer)
        .cloned()
        .unwrap_or_default()
}

fn backend() -> Value {
    let workers = with(list(worker()), json!({"minItems": 1, "maxItems": 1000}));
    let members = [
        (
            "name",
            about(
                "Part of the generated names.",
                with(string(), json!({"pattern": NAME})),
            ),
        ),
        (
            "type",
            about(
                "How the engine runs.",
                one_of(&["vLLM", "vLLMDisaggregated"]),
            ),
        ),
        (
            "modelURI",
            about(
                "Where the model is.",
                with(
                    string(),
                    json!({"pattern": "^(hf://|s3://|obs://|pvc://|ms://).+"}),
                ),
            ),
        ),
        (
            "cacheURI",
            about(
                "Where the model is kept; absent = an empty directory.",
                with(string(), json!({"pattern": "^(hostpath://|pvc://).+"})),
            ),
        ),
        (
            "envFrom",
            pod_part("/properties/containers/items/properties/envFrom"),
        ),
        (
            "env",
            pod_part("/properties/containers/items/properties/env"),
        ),
        (
            "replicas",
            about("Serving groups.", bounded(0, MOST_REPLICAS)),
        ),
        (
            "workers",
            about("Kinds of pods of a serving group.", workers),
        ),
        (
            "schedulerName",
            about("Empty = the default of ModelServing.", string()),
        ),
        (
            "runtimeClassName",
            about("Runtime class of the pods.", string()),
        ),
    ];
    object(
        members,
        &["modelURI", "name", "replicas", "type", "workers"],
    )
}

fn worker() -> Value {
    let types = one_of(&["server", "prefill", "decode", "controller", "coordinator"]);
    object(
        [
            ("type", default("server", types)),
            ("image", about("Container image.", string())),
            (
                "replicas",
                about("Role instances per group.", bounded(0, MOST_REPLICAS)),
            ),
            (
                "pods",
                about("Pods per role instance.", bounded(0, MOST_REPLICAS)),
            ),
            (
                "resources",
                pod_part("/properties/containers/items/properties/resources"),
            ),
            ("affinity", pod_part("/properties/affinity")),
            ("tolerations", pod_part("/properties/tolerations")),
            ("config", about("Engine flags, an object.", anything())),
        ],
        &[],
    )
}
