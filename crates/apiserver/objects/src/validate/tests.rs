use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::resource::Scope;
use crate::testing::{config_maps, namespaces, widgets};

/// Field and start of the message of each fault.
fn faults(resource: &Resource, metadata: &Value) -> Vec<(String, String)> {
    let object = json!({ "metadata": metadata });
    match new_object(resource, &object) {
        Ok(()) => Vec::new(),
        Err(ApiError::Invalid { faults, .. }) => faults
            .iter()
            .map(|fault| (fault.path.to_string(), fault.body()))
            .collect(),
        Err(other) => panic!("unexpected {other}"),
    }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of";
const LABEL: &str = "a lowercase RFC 1123 label must consist of";

#[rstest]
#[case::capital("A_b", SUBDOMAIN)]
#[case::ends_in_dot("a.", SUBDOMAIN)]
#[case::empty_part("a..b", SUBDOMAIN)]
#[case::starts_with_dash("-a", SUBDOMAIN)]
#[case::space("a b", SUBDOMAIN)]
fn names_that_are_no_subdomains(#[case] name: &str, #[case] rule: &str) {
    let found = faults(&config_maps(), &json!({ "name": name }));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "metadata.name");
    assert!(found[0].1.contains(rule), "{}", found[0].1);
}

// The texts are what a kube-apiserver 1.36 answered.
#[rstest]
#[case::dots("a.b", &["must not contain dots"])]
#[case::capital("A_b", &[LABEL])]
#[case::capital_and_dots("A.b", &[LABEL])]
#[case::digit_first("1a", &[])]
fn names_of_namespaces(#[case] name: &str, #[case] rules: &[&str]) {
    let found = faults(&namespaces(), &json!({ "name": name }));
    assert_eq!(found.len(), rules.len());
    for (fault, rule) in found.iter().zip(rules) {
        assert!(
            fault
                .1
                .starts_with(&format!("Invalid value: \"{name}\": {rule}")),
            "{}",
            fault.1
        );
    }
}

#[test]
fn lengths_are_limited() {
    let long = "a".repeat(254);
    let found = faults(&config_maps(), &json!({ "name": long }));
    assert!(
        found[0]
            .1
            .ends_with(": must be no more than 253 characters"),
        "{}",
        found[0].1
    );
    assert_eq!(
        faults(&config_maps(), &json!({ "name": "a".repeat(253) })),
        []
    );
    let found = faults(
        &config_maps(),
        &json!({"name": "a", "labels": {"a".repeat(64): "b".repeat(64)}}),
    );
    assert!(
        found[0]
            .1
            .ends_with(": name part must be no more than 63 bytes"),
        "{}",
        found[0].1
    );
    assert!(
        found[1].1.ends_with(": must be no more than 63 bytes"),
        "{}",
        found[1].1
    );
    let found = faults(
        &config_maps(),
        &json!({"name": "a", "annotations": {"x": "y".repeat(256 << 10)}}),
    );
    assert_eq!(
        found,
        [(
            "metadata.annotations".to_owned(),
            "Too long: may not be more than 262144 bytes".to_owned()
        )]
    );
}

#[rstest]
#[case::no_name(json!({}), "metadata.name", "Required value: name or generateName is required")]
#[case::prefix_of_key(json!({"name": "a", "labels": {"A_/x": ""}}), "metadata.labels", "Invalid value: \"A_/x\": prefix part a lowercase RFC 1123 subdomain")]
#[case::empty_prefix(json!({"name": "a", "labels": {"/x": ""}}), "metadata.labels", "Invalid value: \"/x\": prefix part must be non-empty")]
#[case::two_slashes(json!({"name": "a", "labels": {"a/b/c": ""}}), "metadata.labels", "Invalid value: \"a/b/c\": a valid label key must consist of")]
#[case::value(json!({"name": "a", "labels": {"a": "b c"}}), "metadata.labels", "Invalid value: \"b c\": a valid label must be an empty string or")]
#[case::annotation_key(json!({"name": "a", "annotations": {"a b": "c"}}), "metadata.annotations", "Invalid value: \"a b\": name part must consist of")]
#[case::finalizer(json!({"name": "a", "finalizers": ["foo"]}), "metadata.finalizers[0]", "Invalid value: \"foo\": name is neither a standard finalizer name nor is it fully qualified")]
#[case::both_finalizers(json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}), "metadata.finalizers", "Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and")]
#[case::owner(json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x"}]}), "metadata.ownerReferences.uid", "Invalid value: \"\": must not be empty")]
#[case::event_as_owner(json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "u"}]}), "metadata.ownerReferences", "Invalid value: ")]
fn metadata_that_breaks_a_rule(
    #[case] metadata: Value,
    #[case] field: &str,
    #[case] message: &str,
) {
    let found = faults(&config_maps(), &metadata);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, field);
    assert!(found[0].1.starts_with(message), "{}", found[0].1);
}

#[test]
fn only_one_owner_is_the_controller() {
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "X", "name": name, "uid": name, "controller": true});
    let found = faults(
        &config_maps(),
        &json!({"name": "a", "ownerReferences": [owner("x"), owner("y")]}),
    );
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .1
            .ends_with("Found \"true\" in references for x and y"),
        "{}",
        found[0].1
    );
}

#[test]
fn ordinary_metadata_passes() {
    let metadata = json!({
        "name": "a.b-c.1", "generateName": "a.b-c-",
        "labels": {"app": "x", "x.io/y": "", "A-b_c.d": "V_1"},
        "annotations": {"X.io/Y": "anything at all\n"},
        "finalizers": ["x.io/y", "kubernetes", "orphan"],
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", "controller": true}],
    });
    assert_eq!(faults(&widgets(), &metadata), []);
    let role = Resource::builtin(
        "rbac.authorization.k8s.io",
        "roles",
        "Role",
        Scope::Namespaced,
    );
    assert_eq!(faults(&role, &json!({"name": "system:Role"})), []);
    assert_eq!(faults(&role, &json!({"name": "a/b"})).len(), 1);
}

#[test]
fn a_prefix_may_end_in_a_dash() {
    assert_eq!(
        faults(
            &config_maps(),
            &json!({"name": "w-xyz", "generateName": "w-"})
        ),
        []
    );
    assert_eq!(
        faults(
            &config_maps(),
            &json!({"name": "w-xyz", "generateName": "W-"})
        )
        .len(),
        1
    );
}

#[test]
fn finalizers_are_only_removed_from_what_is_being_deleted() {
    let old =
        json!({"metadata": {"name": "a", "deletionTimestamp": "x", "finalizers": ["x.io/a"]}});
    let new = json!({"metadata": {"name": "a", "finalizers": ["x.io/a", "x.io/b"]}});
    let error = changed_object(&widgets(), &old, &new).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Widget.x.io \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is \
         being deleted, found new finalizers []string{\"x.io/b\"}"
    );
    assert!(changed_object(&widgets(), &new, &new).is_ok());
}
