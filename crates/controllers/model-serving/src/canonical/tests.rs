use kthena_api::model_serving::Role;
use rstest::rstest;
use serde_json::{Value, json};

use super::role;
use crate::quantity::nanos;

fn canonical(value: Value) -> String {
    role(&serde_json::from_value::<Role>(value).unwrap())
}

fn with_spec(spec: &Value) -> Value {
    json!({ "name": "a", "workerReplicas": 0, "entryTemplate": { "spec": spec } })
}

#[rstest]
#[case::null_and_empty(
    json!({ "containers": [{ "name": "c", "image": "i" }] }),
    json!({ "containers": [{ "name": "c", "image": "i", "resources": {}, "args": [], "env": null }],
        "securityContext": {} }))]
#[case::false_that_is_the_default(
    json!({ "containers": [{ "name": "c" }] }),
    json!({ "containers": [{ "name": "c", "tty": false }], "hostNetwork": false }))]
#[case::zero_that_is_the_default(
    json!({ "containers": [{ "name": "c", "livenessProbe": { "timeoutSeconds": 1 } }] }),
    json!({ "containers": [{ "name": "c", "livenessProbe": { "timeoutSeconds": 1, "initialDelaySeconds": 0 } }] }))]
#[case::a_divisor_that_go_writes_for_none(
    json!({ "containers": [{ "env": [{ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } }] }] }),
    json!({ "containers": [{ "env": [{ "name": "A", "valueFrom": { "resourceFieldRef": {
        "resource": "limits.cpu", "divisor": "0" } } }] }] }))]
#[case::first_partition_of_a_disk(
    json!({ "volumes": [{ "name": "v", "gcePersistentDisk": { "pdName": "d", "partition": 0 } }] }),
    json!({ "volumes": [{ "name": "v", "gcePersistentDisk": { "pdName": "d" } }] }))]
#[case::quantities_by_value(
    json!({ "containers": [{ "resources": { "limits": { "cpu": "1", "memory": "1Gi", "gpu": 2 } } }] }),
    json!({ "containers": [{ "resources": { "limits": { "cpu": "1000m", "memory": "1024Mi", "gpu": "2" } } }] }))]
fn r10_r97_same_meaning_has_the_same_text(#[case] one: Value, #[case] other: Value) {
    assert_eq!(canonical(with_spec(&one)), canonical(with_spec(&other)));
}

/// `roles_from_go.json` is what a Go program with the API's own Go types makes of `roles.json` when it reads and writes
/// it, as the controller that this one replaces does for its snapshots.
#[test]
fn r97_roles_that_went_through_go_types_have_the_same_text() {
    let stored: Vec<Role> = serde_json::from_str(include_str!("fixtures/roles.json")).unwrap();
    let snapshot: Value =
        serde_json::from_str(include_str!("fixtures/roles_from_go.json")).unwrap();
    let remembered: Vec<Role> = serde_json::from_value(snapshot["data"].clone()).unwrap();

    for (one, other) in stored.iter().zip(&remembered) {
        let [one, other] =
            [one, other].map(|one| serde_json::from_str::<Value>(&role(one)).unwrap());
        assert_eq!(one, other);
    }
    assert_eq!(stored.len(), remembered.len());
}

#[rstest]
#[case::image(json!({ "containers": [{ "image": "a" }] }), json!({ "containers": [{ "image": "b" }] }))]
#[case::pointer_false(json!({}), json!({ "automountServiceAccountToken": false }))]
#[case::pointer_zero(json!({}), json!({ "terminationGracePeriodSeconds": 0 }))]
#[case::order_of_arguments(
    json!({ "containers": [{ "args": ["a", "b"] }] }),
    json!({ "containers": [{ "args": ["b", "a"] }] }))]
#[case::empty_selector_is_not_none(
    json!({ "x": { "topologyKey": "k" } }),
    json!({ "x": { "topologyKey": "k", "namespaceSelector": {} } }))]
#[case::empty_label_value_is_not_none(json!({ "nodeSelector": { "a": "" } }), json!({ "nodeSelector": {} }))]
#[case::quantity(
    json!({ "containers": [{ "resources": { "limits": { "cpu": "1" } } }] }),
    json!({ "containers": [{ "resources": { "limits": { "cpu": "1001m" } } }] }))]
fn r8_another_meaning_has_another_text(#[case] one: Value, #[case] other: Value) {
    assert_ne!(canonical(with_spec(&one)), canonical(with_spec(&other)));
}

#[test]
fn r8_r9_counts_that_only_scale_or_steer_are_left_out() {
    let plain = json!({ "name": "a", "workerReplicas": 1, "entryTemplate": {} });
    let mut steered = plain.clone();
    steered["replicas"] = json!(7);
    steered["maxUnavailable"] = json!("50%");
    steered["partition"] = json!(2);
    assert_eq!(canonical(plain.clone()), canonical(steered));

    let mut more_workers = plain.clone();
    more_workers["workerReplicas"] = json!(2);
    assert_ne!(canonical(plain), canonical(more_workers));
}

#[rstest]
#[case("1", Some(1_000_000_000))]
#[case("0.5", Some(500_000_000))]
#[case("500m", Some(500_000_000))]
#[case(".5", Some(500_000_000))]
#[case("1e3", Some(1_000_000_000_000))]
#[case("1k", Some(1_000_000_000_000))]
#[case("1E", Some(1_000_000_000_000_000_000_000_000_000))]
#[case("1.5Gi", Some(1_610_612_736_000_000_000))]
#[case("-2", Some(-2_000_000_000))]
#[case("0.1n", Some(1))]
#[case("", None)]
#[case("abc", None)]
#[case("1X", None)]
fn quantities_have_exact_values(#[case] text: &str, #[case] expected: Option<i128>) {
    assert_eq!(nanos(text), expected);
}
