use rstest::rstest;
use serde_json::{Value, json};

use super::{faults, set};
use crate::admission::Rules;

fn serving() -> Value {
    json!({
        "metadata": {"name": "demo"},
        "spec": {
            "replicas": 2,
            "template": {"roles": [{
                "name": "decode", "replicas": 3, "workerReplicas": 0, "maxUnavailable": 1,
                "entryTemplate": {"spec": {"containers": [{"name": "c", "image": "vllm:1"}]}},
            }]},
        },
    })
}

fn after(pointer: &str, value: Value) -> Vec<String> {
    faults(Rules::ModelServing, &set(serving(), pointer, value))
}

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

#[rstest]
#[case::as_it_is("/spec/replicas", json!(2))]
#[case::name_at_the_limit("/metadata/name", json!("n".repeat(63 - "-2-decode-3-0".len())))]
#[case::zero_replicas("/spec/replicas", json!(0))]
#[case::image_absent(
    "/spec/template/roles/0/entryTemplate/spec/containers/0/image",
    Value::Null
)]
#[case::image_with_tab("/spec/template/roles/0/entryTemplate/spec/containers/0/image", json!("a\tb"))]
#[case::init_image_is_not_judged("/spec/template/roles/0/entryTemplate/spec/initContainers", json!([{"name": "i", "image": "a b"}]))]
#[case::gang_policy("/spec/template/gangPolicy", json!({"minRoleReplicas": {"decode": 3}}))]
#[case::workers("/spec/template/roles/0/workerTemplate", json!({}))]
fn accepts(#[case] pointer: &str, #[case] value: Value) {
    assert_eq!(after(pointer, value), Vec::<String>::new());
}

#[test]
fn sg_v1_generated_name_is_too_long() {
    let name = "n".repeat(64 - "-2-decode-3-0".len());

    let expected = format!(
        "metadata.name: Invalid value: \"{name}\": invalid name: must be no more than 63 characters"
    );
    assert_eq!(after("/metadata/name", json!(name)), [expected]);
}

#[test]
fn sg_v1_more_digits_can_break_a_stored_object() {
    let name = "n".repeat(63 - "-9-decode-3-0".len());
    let object = set(serving(), "/metadata/name", json!(name));

    assert!(
        faults(
            Rules::ModelServing,
            &set(object.clone(), "/spec/replicas", json!(9))
        )
        .is_empty()
    );
    assert_eq!(
        faults(
            Rules::ModelServing,
            &set(object, "/spec/replicas", json!(10))
        )
        .len(),
        1
    );
}

#[rstest]
#[case::dot("a.b")]
#[case::digit_first("1a")]
fn sg_v1_generated_name_has_the_wrong_form(#[case] name: &str) {
    let expected = format!("metadata.name: Invalid value: \"{name}\": invalid name: {DNS_1035}");

    assert_eq!(after("/metadata/name", json!(name)), [expected]);
}

#[test]
fn sg_v1_missing_replicas_count_as_one() {
    let object = set(
        serving(),
        "/metadata/name",
        json!("n".repeat(63 - "-1-decode-1-0".len())),
    );
    let object = set(object, "/spec/replicas", Value::Null);
    let object = set(object, "/spec/template/roles/0/replicas", Value::Null);

    assert!(
        faults(Rules::ModelServing, &object)
            .iter()
            .all(|fault| !fault.contains("invalid name"))
    );
}

#[rstest]
#[case::upper_case("Decode")]
#[case::digit_first("1a")]
#[case::hyphen_last("a-")]
fn sg_v2_role_names_are_dns_labels(#[case] name: &str) {
    let found = after("/spec/template/roles/0/name", json!(name));

    let expected = format!(
        "spec.template.roles[0].name: Invalid value: \"{name}\": role name must be a valid DNS-1035 label (lowercase alphanumeric characters or '-', must start with a letter): {DNS_1035}"
    );
    assert!(found.contains(&expected), "{found:?}");
}

#[rstest]
#[case::blank("  \t", "image cannot be empty or whitespace only")]
#[case::space("a b", "image cannot contain spaces")]
fn sg_v3_images(
    #[case] image: &str,
    #[case] reason: &str,
    #[values("entryTemplate", "workerTemplate")] template: &str,
) {
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "ok"}, {"name": "d", "image": image}]}});

    let expected = format!(
        "spec.template.roles[0].{template}.spec.containers[1].image: Invalid value: {}: invalid container image reference: {reason}",
        kthena_schema::go::quote(image)
    );
    assert_eq!(
        after(&format!("/spec/template/roles/0/{template}"), pod),
        [expected]
    );
}

#[rstest]
#[case::absent(
    "/spec/replicas",
    Value::Null,
    "spec.replicas: Invalid value: null: replicas must be a non-negative integer"
)]
#[case::role_absent(
    "/spec/template/roles/0/replicas",
    Value::Null,
    "spec.template.roles[0].replicas: Invalid value: null: role replicas must be a non-negative integer"
)]
fn sg_v4_replicas_are_present(#[case] pointer: &str, #[case] value: Value, #[case] expected: &str) {
    assert_eq!(after(pointer, value), [expected]);
}

#[test]
fn sg_v4_replicas_are_not_negative() {
    let found = after("/spec/replicas", json!(-1));
    assert!(
        found.contains(
            &"spec.replicas: Invalid value: -1: replicas must be a non-negative integer".to_owned()
        ),
        "{found:?}"
    );

    let found = after("/spec/template/roles/0/replicas", json!(-2));
    let expected = "spec.template.roles[0].replicas: Invalid value: -2: role replicas must be a non-negative integer";
    assert!(found.contains(&expected.to_owned()), "{found:?}");
}

#[test]
fn sg_v4_covers_a_missing_spec() {
    assert_eq!(
        faults(Rules::ModelServing, &json!({"metadata": {"name": "demo"}})),
        [
            "spec.replicas: Invalid value: null: replicas must be a non-negative integer",
            "spec.template.roles: Invalid value: null: roles must be specified",
        ]
    );
}

#[rstest]
#[case::unknown_role(json!({"prefill": 1}), "spec.template.gangPolicy.minRoleReplicas[prefill]: Invalid value: \"prefill\": role prefill does not exist in template.roles")]
#[case::too_many(json!({"decode": 4}), "spec.template.gangPolicy.minRoleReplicas[decode]: Invalid value: 4: minRoleReplicas (4) for role decode cannot exceed replicas (3)")]
#[case::negative(json!({"decode": -1}), "spec.template.gangPolicy.minRoleReplicas[decode]: Invalid value: -1: minRoleReplicas for role decode must be non-negative")]
fn sg_v10_gang_policy(#[case] least: Value, #[case] expected: &str) {
    assert_eq!(
        after(
            "/spec/template/gangPolicy",
            json!({"minRoleReplicas": least})
        ),
        [expected]
    );
}

#[test]
fn sg_v10_roles_are_reported_in_order_of_their_names() {
    let found = after(
        "/spec/template/gangPolicy",
        json!({"minRoleReplicas": {"z": 1, "a": 1}}),
    );

    assert!(
        found[0].contains("[a]") && found[1].contains("[z]"),
        "{found:?}"
    );
}

#[test]
fn sg_v11_negative_workers() {
    let found = after("/spec/template/roles/0/workerReplicas", json!(-1));

    let expected = "spec.template.roles[0].workerReplicas: Invalid value: -1: workerReplicas must be a non-negative integer";
    assert!(found.contains(&expected.to_owned()), "{found:?}");
}

#[test]
fn sg_v11_workers_need_a_template() {
    assert_eq!(
        after("/spec/template/roles/0/workerReplicas", json!(2)),
        [
            "spec.template.roles[0].workerTemplate: Required value: workerTemplate is required when workerReplicas is greater than 0"
        ]
    );
}

#[test]
fn sg_v11_every_role_is_judged() {
    let role =
        |name: &str| json!({"name": name, "replicas": 1, "workerReplicas": 1, "entryTemplate": {}});
    let found = after("/spec/template/roles", json!([role("a"), role("b")]));

    assert_eq!(found.len(), 2);
    assert!(
        found[1].starts_with("spec.template.roles[1].workerTemplate"),
        "{found:?}"
    );
}
