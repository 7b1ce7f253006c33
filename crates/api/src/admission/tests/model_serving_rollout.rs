use rstest::rstest;
use serde_json::{Value, json};

use super::faults;
use crate::admission::Rules;

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// Faults of a serving with `replicas` groups and this rollout configuration.
fn by_group(replicas: i32, configuration: &Value) -> Vec<String> {
    faults(
        Rules::ModelServing,
        &json!({
            "metadata": {"name": "demo"},
            "spec": {
                "replicas": replicas,
                "template": {"roles": [{"name": "r", "replicas": 1, "workerReplicas": 0, "entryTemplate": {}}]},
                "rolloutStrategy": {"type": "ServingGroupRollingUpdate", "rollingUpdateConfiguration": configuration},
            },
        }),
    )
}

/// Faults of a serving whose one role has these members and that is rolled out by `kind`.
fn by_role(kind: &str, members: &Value) -> Vec<String> {
    let mut role = json!({"name": "r", "replicas": 2, "workerReplicas": 0, "entryTemplate": {}});
    for (name, value) in members.as_object().expect("is an object") {
        role[name] = value.clone();
    }
    faults(
        Rules::ModelServing,
        &json!({
            "metadata": {"name": "demo"},
            "spec": {"replicas": 1, "template": {"roles": [role]}, "rolloutStrategy": {"type": kind}},
        }),
    )
}

#[test]
fn sg_v5_group_limits_do_not_go_with_role_rollout() {
    let found = faults(
        Rules::ModelServing,
        &json!({
            "metadata": {"name": "demo"},
            "spec": {
                "replicas": 1,
                "template": {"roles": [{"name": "r", "replicas": 1, "workerReplicas": 0, "entryTemplate": {}}]},
                "rolloutStrategy": {"type": "RoleRollingUpdate", "rollingUpdateConfiguration": {"maxUnavailable": "x", "partition": -1}},
            },
        }),
    );

    assert_eq!(
        found,
        [
            "spec.rolloutStrategy.rollingUpdateConfiguration: Forbidden: rollingUpdateConfiguration is only valid when rolloutStrategy.type is ServingGroupRollingUpdate"
        ]
    );
}

#[rstest]
#[case::count(json!({"maxUnavailable": 1}))]
#[case::above_replicas(json!({"maxUnavailable": 9}))]
#[case::share(json!({"maxUnavailable": "50%"}))]
#[case::partition_zero(json!({"partition": 0}))]
#[case::partition_equal(json!({"partition": 4}))]
#[case::partition_greater(json!({"partition": 5}))]
#[case::partition_share(json!({"partition": "100%"}))]
fn group_limits_that_are_accepted(#[case] configuration: Value) {
    assert_eq!(by_group(4, &configuration), Vec::<String>::new());
}

#[rstest]
#[case::partition_text("partition", json!("5"), format!("Invalid value: \"5\": {PERCENT}"))]
#[case::partition_over("partition", json!("101%"), "Invalid value: \"101%\": must be a valid percent value (0-100)".to_owned())]
#[case::partition_negative("partition", json!(-1), "Invalid value: -1: must be a non-negative integer".to_owned())]
#[case::unavailable_over("maxUnavailable", json!("200%"), "Invalid value: \"200%\": must be a valid percent value (0-100)".to_owned())]
#[case::unavailable_negative("maxUnavailable", json!(-1), "Invalid value: -1: must be a non-negative integer".to_owned())]
fn sg_v6_counts_and_shares(#[case] field: &str, #[case] value: Value, #[case] expected: String) {
    let path = format!("spec.rolloutStrategy.rollingUpdateConfiguration.{field}");

    assert_eq!(
        by_group(4, &json!({field: value})),
        [format!("{path}: {expected}")]
    );
}

#[test]
fn sg_v7_unscalable_limit_is_reported_twice() {
    let path = "spec.rolloutStrategy.rollingUpdateConfiguration.maxUnavailable";

    assert_eq!(
        by_group(4, &json!({"maxUnavailable": "half"})),
        [
            format!("{path}: Invalid value: \"half\": {PERCENT}"),
            format!(
                "{path}: Invalid value: \"half\": invalid maxUnavailable: invalid value for IntOrString: invalid type: string is not a percentage"
            ),
        ]
    );
}

#[rstest]
#[case::zero(4, json!(0))]
#[case::zero_share(4, json!("0%"))]
#[case::rounded_down(1, json!("50%"))]
#[case::no_replicas(0, json!("50%"))]
fn sg_v7_limit_must_not_come_to_zero(#[case] replicas: i32, #[case] limit: Value) {
    assert_eq!(
        by_group(replicas, &json!({"maxUnavailable": limit})),
        [
            "spec.rolloutStrategy.rollingUpdateConfiguration: Invalid value: \"\": maxUnavailable cannot be 0"
        ]
    );
}

#[test]
fn sg_v8_role_partition_needs_role_rollout() {
    assert_eq!(
        by_role("ServingGroupRollingUpdate", &json!({"partition": 1})),
        [
            "spec.template.roles[0].partition: Forbidden: partition is only valid when rolloutStrategy.type is RoleRollingUpdate"
        ]
    );
    assert_eq!(
        by_role(
            "RoleRollingUpdate",
            &json!({"partition": "50%", "maxUnavailable": 1})
        ),
        Vec::<String>::new()
    );
}

#[test]
fn sg_v8_role_partition_has_its_form() {
    assert_eq!(
        by_role("RoleRollingUpdate", &json!({"partition": "1"})),
        [format!(
            "spec.template.roles[0].partition: Invalid value: \"1\": {PERCENT}"
        )]
    );
}

#[rstest]
#[case::zero(json!({"maxUnavailable": 0}), "Invalid value: 0: maxUnavailable cannot be 0")]
#[case::share_of_little(json!({"maxUnavailable": "10%"}), "Invalid value: \"10%\": maxUnavailable cannot be 0")]
#[case::greater(json!({"maxUnavailable": 3}), "Invalid value: 3: maxUnavailable cannot be greater than replicas (2)")]
fn sg_v9_role_limit(#[case] members: Value, #[case] expected: &str) {
    assert_eq!(
        by_role("RoleRollingUpdate", &members),
        [format!("spec.template.roles[0].maxUnavailable: {expected}")]
    );
}

#[rstest]
#[case::default_limit(json!({"maxUnavailable": 1, "replicas": 0}))]
#[case::share(json!({"maxUnavailable": "50%", "replicas": 0}))]
fn sg_v9_a_role_may_be_scaled_to_zero_whatever_its_limit(#[case] members: Value) {
    assert_eq!(by_role("RoleRollingUpdate", &members), Vec::<String>::new());
}

#[test]
fn sg_v9_role_limit_may_equal_replicas() {
    assert_eq!(
        by_role("RoleRollingUpdate", &json!({"maxUnavailable": 2})),
        Vec::<String>::new()
    );
}

#[rstest]
#[case::default_limit(json!({"maxUnavailable": 1}))]
#[case::nonsense(json!({"maxUnavailable": "x"}))]
#[case::zero(json!({"maxUnavailable": 0}))]
fn sg_v9_role_limit_is_not_judged_under_group_rollout(#[case] members: Value) {
    assert_eq!(
        by_role("ServingGroupRollingUpdate", &members),
        Vec::<String>::new()
    );
}

#[rstest]
#[case::both_default(None, None, true)]
#[case::groups_by_group(Some("ServingGroupRecreate"), Some("ServingGroupRollingUpdate"), true)]
#[case::groups_by_role(Some("ServingGroupRecreate"), Some("RoleRollingUpdate"), false)]
#[case::groups_by_default(Some("ServingGroupRecreate"), None, true)]
#[case::roles_by_group(Some("RoleRecreate"), Some("ServingGroupRollingUpdate"), true)]
#[case::roles_by_role(Some("RoleRecreate"), Some("RoleRollingUpdate"), true)]
#[case::default_by_role(None, Some("RoleRollingUpdate"), true)]
#[case::none_by_role(Some("None"), Some("RoleRollingUpdate"), true)]
#[case::none_by_group(Some("None"), Some("ServingGroupRollingUpdate"), true)]
fn sg_v12_recovery_and_rollout(
    #[case] recovery: Option<&str>,
    #[case] rollout: Option<&str>,
    #[case] allowed: bool,
) {
    let mut spec = json!({
        "replicas": 1,
        "template": {"roles": [{"name": "r", "replicas": 1, "workerReplicas": 0, "entryTemplate": {}}]},
    });
    if let Some(recovery) = recovery {
        spec["recoveryPolicy"] = json!(recovery);
    }
    if let Some(rollout) = rollout {
        spec["rolloutStrategy"] = json!({"type": rollout});
    }

    let found = faults(
        Rules::ModelServing,
        &json!({"metadata": {"name": "demo"}, "spec": spec}),
    );

    let expected: &[&str] = if allowed {
        &[]
    } else {
        &[
            "spec.rolloutStrategy.type: Invalid value: \"RoleRollingUpdate\": incompatible recoveryPolicy and rolloutStrategy.type after applying defaults: recoveryPolicy=ServingGroupRecreate, rolloutStrategy.type=RoleRollingUpdate; valid pairs: (ServingGroupRecreate,ServingGroupRollingUpdate) or (RoleRecreate,RoleRollingUpdate)",
        ]
    };
    assert_eq!(found, expected);
}
