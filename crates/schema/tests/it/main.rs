//! The schema engine beside a real kube-apiserver.

use std::collections::BTreeSet;

use kthena_schema::{Fault, Schema};
use serde::Deserialize;
use serde_json::Value;

/// Updates of objects that were stored before their schema became stricter, and what kube-apiserver v1.36.3 held
/// against them.
#[derive(Deserialize)]
struct Recording {
    schema: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    old: Value,
    new: Value,
    /// Field, reason and message.
    causes: BTreeSet<(String, String, String)>,
}

#[test]
fn a7_updates_of_objects_that_became_invalid() {
    let recording: Recording =
        serde_json::from_str(include_str!("ratcheting.json")).expect("is a recording");
    let schema = Schema::parse_resource(&recording.schema).expect("is a schema");
    for case in recording.cases {
        let found: BTreeSet<(String, String, String)> = schema
            .check(&case.new, Some(&case.old))
            .iter()
            .map(Fault::cause)
            .map(|cause| (cause.field, cause.reason, cause.message))
            .collect();
        assert_eq!(found, case.causes, "{}", case.name);
    }
}
