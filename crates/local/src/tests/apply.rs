use std::path::Path;

use kube::core::Status;
use rstest::rstest;
use serde_json::{Value, json};

use crate::apply::faults;
use crate::manifest::{Manifest, parse};

fn manifest() -> Manifest {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  replicas: -1\n  roles:\n  - name: X\n";
    let (mut manifests, mut faults) = (Vec::new(), Vec::new());
    parse(Path::new("m.yaml"), text, &mut manifests, &mut faults);
    manifests.remove(0)
}

#[rstest]
#[case::causes(
    json!({"message": "invalid", "details": {"causes": [
        {"field": "spec.replicas", "message": "Invalid value: -1", "reason": "FieldValueInvalid"},
        {"field": "spec.roles[0].name", "message": "Invalid value: \"X\"", "reason": "FieldValueInvalid"}]}}),
    &["m.yaml:6: spec.replicas: Invalid value: -1", "m.yaml:8: spec.roles[0].name: Invalid value: \"X\""],
)]
#[case::a_replica_count(
    json!({"message": "invalid", "details": {"causes": [
        {"field": ".spec.replicas", "message": "Invalid value: -1: should be a non-negative integer", "reason": "FieldValueInvalid"}]}}),
    &["m.yaml:6: spec.replicas: Invalid value: -1: should be a non-negative integer"],
)]
#[case::an_admission_refusal(
    json!({"message": "admission webhook \"x\" denied the request: validation failed:\n  - spec.replicas: Invalid value: -1: too few\n  - spec.roles[0].name: Required value"}),
    &["m.yaml:6: spec.replicas: Invalid value: -1: too few", "m.yaml:8: spec.roles[0].name: Required value"],
)]
#[case::unknown_fields(
    json!({"message": "strict decoding error: unknown field \"spec.roles[0].name\", unknown field \"spec.replicas\""}),
    &["m.yaml:8: spec.roles[0].name: unknown field", "m.yaml:6: spec.replicas: unknown field"],
)]
#[case::anything_else(json!({"message": "quota exceeded"}), &["m.yaml:1: quota exceeded"])]
fn each_fault_of_a_refusal_gets_its_line(#[case] status: Value, #[case] expected: &[&str]) {
    let status: Status = serde_json::from_value(status).unwrap();

    let faults: Vec<_> = faults(&manifest(), &status)
        .iter()
        .map(ToString::to_string)
        .collect();

    assert_eq!(faults, expected);
}
