//! CRD of `ModelServer`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, age, bounded, column, default, int32, map, object, one_of, resource, string, with,
};

pub(super) fn definition() -> Definition {
    let status = about("Reserved, without members.", object([], &[]));
    let schema = resource(
        "A set of pods that serve one model with one engine.",
        spec(),
        status,
        &[],
    );
    Definition::networking("ModelServer", "modelservers", schema).columns(vec![
        column(
            "Engine",
            "string",
            ".spec.inferenceEngine",
            "Inference engine used to serve the model",
        ),
        column(
            "Port",
            "integer",
            ".spec.workloadPort.port",
            "Model server port",
        ),
        column(
            "Protocol",
            "string",
            ".spec.workloadPort.protocol",
            "Model server protocol",
        ),
        age(),
    ])
}

fn spec() -> Value {
    let port = object(
        [
            ("port", bounded(1, 65535)),
            ("protocol", default("http", one_of(&["http", "https"]))),
        ],
        &["port"],
    );
    let connector = object(
        [(
            "type",
            default("http", one_of(&["http", "lmcache", "nixl", "mooncake"])),
        )],
        &[],
    );
    let members = [
        (
            "model",
            about(
                "Name the engine knows the model by; replaces the request's `model`.",
                with(string(), json!({"maxLength": 256})),
            ),
        ),
        (
            "inferenceEngine",
            about("Which engine the pods run.", one_of(&["vLLM", "SGLang"])),
        ),
        (
            "workloadSelector",
            about("Which pods of the namespace serve.", workload_selector()),
        ),
        ("workloadPort", about("Where the engine listens.", port)),
        (
            "trafficPolicy",
            about("Time limit and retries.", traffic_policy()),
        ),
        (
            "kvConnector",
            about(
                "How a prefill pod hands its KV cache to a decode pod.",
                connector,
            ),
        ),
    ];
    about(
        "What is asked for.",
        object(
            members,
            &["inferenceEngine", "workloadPort", "workloadSelector"],
        ),
    )
}

fn workload_selector() -> Value {
    let pd_group = object(
        [
            (
                "groupKey",
                about(
                    "Label key whose value pairs prefill with decode pods.",
                    string(),
                ),
            ),
            (
                "prefillLabels",
                about("Labels of prefill pods.", map(string())),
            ),
            (
                "decodeLabels",
                about("Labels of decode pods.", map(string())),
            ),
        ],
        &["decodeLabels", "groupKey", "prefillLabels"],
    );
    object(
        [
            (
                "matchLabels",
                about("Labels a pod must carry, at least one.", map(string())),
            ),
            (
                "pdGroup",
                about(
                    "Present = prefill and decode run in different pods.",
                    pd_group,
                ),
            ),
        ],
        &[],
    )
}

fn traffic_policy() -> Value {
    let retry = object(
        [
            ("attempts", about("Attempts after the first.", int32())),
            (
                "retryInterval",
                about("Wait before each of them.", default("100ms", string())),
            ),
        ],
        &[],
    );
    object(
        [
            (
                "timeout",
                about(
                    "From dial to response headers, such as `30s`; absent = unlimited.",
                    string(),
                ),
            ),
            (
                "retry",
                about("How often a failed attempt is repeated.", retry),
            ),
        ],
        &[],
    )
}
