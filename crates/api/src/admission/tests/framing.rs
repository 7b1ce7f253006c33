use rstest::rstest;
use serde_json::json;

use crate::admission::Rules;

#[test]
fn w5_one_line_per_fault() {
    let object = json!({"spec": {"loraAdapters": ["", "b", ""], "rules": []}});
    let faults = Rules::ModelRoute.faults(&object);

    assert_eq!(
        Rules::ModelRoute.message(&faults),
        "validation failed:\n  - spec.loraAdapters[0]: Invalid value: \"\": lora adapter name cannot be an empty string\n  - spec.loraAdapters[2]: Invalid value: \"\": lora adapter name cannot be an empty string"
    );
}

#[test]
fn sv_v5_model_server_puts_all_on_one_line() {
    let object = json!({"spec": {"workloadSelector": {"matchLabels": {"a": "b"}, "pdGroup": {}}}});
    let faults = Rules::ModelServer.faults(&object);

    assert_eq!(
        Rules::ModelServer.message(&faults),
        "validation failed:   - spec.workloadSelector.pdGroup.groupKey: Required value: groupKey must be specified  - spec.workloadSelector.pdGroup.prefillLabels: Required value: labels must contain at least one label  - spec.workloadSelector.pdGroup.decodeLabels: Required value: labels must contain at least one label"
    );
}

#[test]
fn w4_the_api_server_names_the_webhook() {
    let faults = Rules::ModelServer.faults(&json!({}));

    assert_eq!(
        Rules::ModelServer.denial(&faults),
        "admission webhook \"validate-modelserver.volcano.sh\" denied the request: validation failed:   - spec.workloadSelector: Required value: workloadSelector must be specified"
    );
}

#[rstest]
#[case::server_timeout(
    Rules::ModelServer,
    json!({"spec": {"workloadSelector": {"matchLabels": {"a": "b"}}, "trafficPolicy": {"timeout": "10"}}}),
    "spec.trafficPolicy.timeout: Invalid value: \"10\": time: missing unit in duration \"10\""
)]
#[case::retry_interval(
    Rules::ModelServer,
    json!({"spec": {"workloadSelector": {"matchLabels": {"a": "b"}}, "trafficPolicy": {"retry": {"retryInterval": "1d"}}}}),
    "spec.trafficPolicy.retry.retryInterval: Invalid value: \"1d\": time: unknown unit \"d\" in duration \"1d\""
)]
#[case::panic_period(
    Rules::AutoscalingPolicy,
    json!({"spec": {"metrics": [{"name": "m", "targetValue": "1"}], "homogeneousTarget": {"target": {"targetRef": {"name": "x"}}},
        "behavior": {"scaleUp": {"panicPolicy": {"period": ""}}}}}),
    "spec.behavior.scaleUp.panicPolicy.period: Invalid value: \"\": time: invalid duration \"\""
)]
#[case::quantity(
    Rules::AutoscalingPolicy,
    json!({"spec": {"metrics": [{"name": "m", "targetValue": "1e2.5"}], "homogeneousTarget": {"target": {"targetRef": {"name": "x"}}}}}),
    "spec.metrics[0].targetValue: Invalid value: \"1e2.5\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
#[case::wrong_json_type(
    Rules::ModelRoute,
    json!({"spec": {"modelName": 3, "loraAdapters": ["l"], "rules": []}}),
    "spec.modelName: Invalid value: \"integer\": spec.modelName in body must be of type string: \"integer\""
)]
fn w6_malformed_values_are_denied_with_their_path(
    #[case] rules: Rules,
    #[case] object: serde_json::Value,
    #[case] expected: &str,
) {
    let found: Vec<String> = rules
        .faults(&object)
        .iter()
        .map(ToString::to_string)
        .collect();

    assert_eq!(found, [expected]);
}

#[test]
fn w9_metadata_of_an_invalid_object_can_be_changed() {
    let old = json!({"metadata": {"finalizers": ["f"]}, "spec": {}});
    let new = json!({"metadata": {}, "spec": {}});

    assert!(!Rules::ModelRoute.faults(&new).is_empty());
    assert!(Rules::ModelRoute.validate(&new, Some(&old)).is_empty());
}

#[test]
fn w9_an_object_that_is_being_deleted_is_never_refused() {
    let old = json!({"metadata": {}, "spec": {"rules": []}});
    let new = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}});

    assert!(Rules::ModelRoute.validate(&new, Some(&old)).is_empty());
    assert!(!Rules::ModelRoute.faults(&new).is_empty());
}

#[test]
fn w9_only_new_faults_are_held_against_an_update() {
    let old = json!({"spec": {"loraAdapters": [""], "rules": []}});
    let new = json!({"spec": {"loraAdapters": ["", "ok", ""], "rules": []}});

    let found = Rules::ModelRoute.validate(&new, Some(&old));

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path.as_str(), "spec.loraAdapters[2]");
}

#[test]
fn rules_are_found_by_group_and_kind() {
    for rules in Rules::ALL {
        assert_eq!(Rules::of(rules.group(), rules.kind()), Some(rules));
    }
    assert_eq!(Rules::of("apps", "ModelRoute"), None);
}

#[test]
fn only_autoscaling_policies_are_mutated() {
    let object = json!({"spec": {}});
    for rules in Rules::ALL {
        assert_eq!(
            rules.mutate(&object).is_empty(),
            rules != Rules::AutoscalingPolicy,
            "{rules:?}"
        );
    }
}
