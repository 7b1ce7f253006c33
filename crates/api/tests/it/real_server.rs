//! Replays what a real kube-apiserver answered to writes of the six kinds, with our CRDs installed and no webhooks.
//!
//! `real_server.json` holds the objects, and for each either the stored object or the causes of the refusal.

use std::collections::BTreeSet;

use kthena_api::crd;
use kthena_schema::Fault;
use serde_json::Value;

use crate::recording::{self, Case};

/// As a server takes an object in: the status is not the user's to write.
fn taken_in(kind: &str, object: &Value) -> Value {
    let schema = crd::schema(kind).expect("is one of the six");
    let mut object = object.clone();
    if let Value::Object(map) = &mut object {
        map.remove("status");
    }
    kthena_schema::go::settle_numbers(&mut object);
    schema.prune(&mut object);
    schema.fill_defaults(&mut object);
    object
}

fn faults(case: &Case) -> Vec<Fault> {
    let schema = crd::schema(&case.kind).expect("is one of the six");
    let object = taken_in(&case.kind, &case.object);
    let old = case.old.as_ref().map(|old| taken_in(&case.kind, old));
    schema.check_with_scale(&object, old.as_ref(), crd::scale_paths(&case.kind))
}

#[test]
fn refuses_with_the_same_causes() {
    let mut differences = Vec::new();
    for case in recording::cases() {
        let found: BTreeSet<(String, String, String)> = faults(&case)
            .iter()
            .map(Fault::cause)
            .map(|cause| (cause.field, cause.reason, cause.message))
            .collect();
        let wanted: BTreeSet<_> = case.causes.iter().cloned().collect();
        if found != wanted {
            let missing: Vec<_> = wanted.difference(&found).collect();
            let extra: Vec<_> = found.difference(&wanted).collect();
            differences.push(format!(
                "{}:\n  missing {missing:#?}\n  extra {extra:#?}",
                case.name
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn stores_the_same_object() {
    for case in recording::cases() {
        let Some(stored) = &case.stored else { continue };
        let found = taken_in(&case.kind, &case.object);
        assert_eq!(found["spec"], stored["spec"], "{}", case.name);
        assert!(
            faults(&case).is_empty(),
            "{}: {:?}",
            case.name,
            faults(&case)
        );
    }
}

/// A manifest that a server refuses is refused by the check without a server too, and one that it stores only for
/// what admission adds.
#[test]
fn the_check_without_a_server_agrees() {
    for case in recording::cases() {
        let found = kthena_api::check(&case.kind, &case.object, case.old.as_ref());
        if case.stored.is_none() {
            assert!(!found.is_empty(), "{}", case.name);
        }
        assert!(
            found
                .iter()
                .all(|fault| !fault.to_string().contains("were not checked")),
            "{}",
            case.name
        );
    }
}
