use rstest::rstest;
use serde_json::{Value, json};

use super::{faults, set};
use crate::admission::Rules;

fn policy() -> Value {
    json!({"spec": {
        "metrics": [{"name": "m", "targetValue": "10"}],
        "homogeneousTarget": {"target": {"targetRef": {"kind": "ModelServing", "name": "s"}}, "minReplicas": 1, "maxReplicas": 2},
    }})
}

fn pair() -> Value {
    let role = json!({"minReplicas": 1, "maxReplicas": 4, "metricSources": {"m": {"pod": {}}}});
    json!({"spec": {
        "metrics": [{"name": "m", "targetValue": "10"}],
        "disaggregatedTarget": {
            "targetRef": {"name": "s"},
            "roles": {"p": role, "d": role},
            "ratioConstraint": {"numeratorRole": "p", "denominatorRole": "d", "minRatio": "0.5", "maxRatio": "2"},
        },
    }})
}

fn denied(object: &Value) -> Vec<String> {
    faults(Rules::AutoscalingPolicy, object)
}

const NOTHING: [&str; 0] = [];
const TARGET: &str = "/spec/disaggregatedTarget";

#[test]
fn accepts_a_plain_policy_and_a_pair_of_roles() {
    assert_eq!(denied(&policy()), NOTHING);
    assert_eq!(denied(&pair()), NOTHING);
}

#[rstest]
#[case::zero(json!("0"), "\"0\"")]
#[case::zero_number(json!(0), "\"0\"")]
#[case::negative(json!("-0.5"), "\"-500m\"")]
#[case::infinite(json!("1e400"), "\"1e400\"")]
fn ap_v1_target_values_are_positive(#[case] value: Value, #[case] shown: &str) {
    let expected = format!(
        "spec.metrics[0].targetValue: Invalid value: {shown}: metric target value must be greater than 0 and not equal to infinity"
    );

    assert_eq!(
        denied(&set(policy(), "/spec/metrics/0/targetValue", value)),
        [expected]
    );
}

#[test]
fn ap_v1_metric_names_are_unique() {
    let metric = json!({"name": "m", "targetValue": "1"});

    assert_eq!(
        denied(&set(
            policy(),
            "/spec/metrics",
            json!([metric, metric, metric])
        )),
        [
            "spec.metrics[1].name: Invalid value: \"m\": duplicate metric name m is not allowed",
            "spec.metrics[2].name: Invalid value: \"m\": duplicate metric name m is not allowed",
        ]
    );
}

#[rstest]
#[case::no_spec(json!({}), 0)]
#[case::none(json!({"spec": {}}), 0)]
#[case::two(json!({"spec": {"metrics": [{"name": "m", "targetValue": "1"}], "homogeneousTarget": {}, "heterogeneousTarget": {}}}), 2)]
fn ap_v2_exactly_one_target(#[case] object: Value, #[case] count: usize) {
    let expected = format!(
        "spec: Invalid value: {count}: exactly one of homogeneousTarget, heterogeneousTarget, or disaggregatedTarget must be set"
    );

    assert_eq!(denied(&object), [expected]);
}

#[rstest]
#[case::homogeneous(json!({"homogeneousTarget": {"target": {"targetRef": {"kind": "Deployment"}}}}), "spec.homogeneousTarget.target.targetRef")]
#[case::heterogeneous(json!({"heterogeneousTarget": {"params": [{"target": {"targetRef": {"kind": "Deployment"}}}]}}), "spec.heterogeneousTarget.params[0].target.targetRef")]
#[case::disaggregated(json!({"disaggregatedTarget": {"targetRef": {"kind": "Deployment"}}}), "spec.disaggregatedTarget.targetRef")]
fn ap_v3_targets_are_named_servings(#[case] target: Value, #[case] path: &str) {
    let mut object = json!({"spec": {"metrics": [{"name": "m", "targetValue": "1"}]}});
    for (name, value) in target.as_object().expect("is an object") {
        object["spec"][name] = value.clone();
    }

    assert_eq!(
        denied(&object),
        [
            format!(
                "{path}.kind: Invalid value: \"Deployment\": targetRef.kind must be ModelServing, but got Deployment"
            ),
            format!("{path}.name: Invalid value: \"\": targetRef.name must be set, but got empty"),
        ]
    );
}

#[rstest]
#[case::homogeneous("homogeneousTarget", json!({"target": {"targetRef": {"name": "s"}}}))]
#[case::heterogeneous("heterogeneousTarget", json!({"params": []}))]
fn ap_v4_needs_a_metric(#[case] name: &str, #[case] target: Value) {
    assert_eq!(
        denied(&json!({"spec": {name: target}})),
        ["spec.metrics: Required value: at least one metric must be set"]
    );
}

#[test]
fn ap_v5_role_names_are_not_empty() {
    let object = json!({"spec": {"disaggregatedTarget": {"targetRef": {"name": "s"}, "roles": {"": {"minReplicas": 9}}}}});

    assert_eq!(
        denied(&object),
        [
            "spec.disaggregatedTarget.roles: Invalid value: \"\": role name must refer to a ModelServing.spec.template.roles[].name and must not be empty"
        ]
    );
}

#[test]
fn ap_v5_bounds_of_a_role() {
    let object = set(
        pair(),
        "/spec/disaggregatedTarget/roles/p/minReplicas",
        json!(5),
    );

    let found = denied(&object);
    assert!(
        found.contains(&"spec.disaggregatedTarget.roles[p].minReplicas: Invalid value: 5: minReplicas must be <= maxReplicas".to_owned()),
        "{found:?}"
    );
}

#[test]
fn ap_v5_roles_that_scale_need_metrics() {
    let object = set(pair(), "/spec/metrics", Value::Null);
    let roles = json!({"p": {"minReplicas": 1, "maxReplicas": 2}, "d": {"minReplicas": 2, "maxReplicas": 2}});

    assert_eq!(
        denied(&set(object, "/spec/disaggregatedTarget/roles", roles)),
        [
            "spec.disaggregatedTarget.roles[p].metrics: Required value: metrics must be set on every non-fixed role when spec.metrics is empty"
        ]
    );
}

#[test]
fn ap_v5_metrics_of_a_role_are_judged_like_shared_ones() {
    let metrics = json!([{"name": "a", "targetValue": "0"}, {"name": "a", "targetValue": "1"}]);
    let object = set(pair(), "/spec/disaggregatedTarget/roles/d/metrics", metrics);
    let object = set(
        object,
        "/spec/disaggregatedTarget/roles/d/metricSources",
        json!({"a": {}}),
    );

    assert_eq!(
        denied(&object),
        [
            "spec.disaggregatedTarget.roles[d].metrics[0].targetValue: Invalid value: \"0\": metric target value must be greater than 0 and not equal to infinity",
            "spec.disaggregatedTarget.roles[d].metrics[1].name: Invalid value: \"a\": duplicate metric name a is not allowed",
        ]
    );
}

#[test]
fn ap_v5_roles_that_scale_need_sources_for_inherited_metrics() {
    assert_eq!(
        denied(&set(
            pair(),
            "/spec/disaggregatedTarget/roles/p/metricSources",
            Value::Null
        )),
        [
            "spec.disaggregatedTarget.roles[p].metricSources: Invalid value: 0: metricSources must be set on every non-fixed role when metrics are configured"
        ]
    );
}

#[test]
fn ap_v5_sources_match_metrics() {
    let object = set(
        pair(),
        "/spec/disaggregatedTarget/roles/p/metricSources",
        json!({"m": {}, "z": {}, "a": {}}),
    );

    assert_eq!(
        denied(&object),
        [
            "spec.disaggregatedTarget.roles[p].metricSources[a]: Invalid value: \"a\": metricSources key must match an effective metric name",
            "spec.disaggregatedTarget.roles[p].metricSources[z]: Invalid value: \"z\": metricSources key must match an effective metric name",
        ]
    );
}

#[test]
fn ap_v5_a_metric_without_source_is_accepted() {
    let metrics = json!([{"name": "m", "targetValue": "1"}, {"name": "n", "targetValue": "1"}]);

    assert_eq!(denied(&set(pair(), "/spec/metrics", metrics)), NOTHING);
}

#[test]
fn ap_v5_single_and_fixed_roles_are_accepted() {
    let object = set(
        pair(),
        "/spec/disaggregatedTarget/ratioConstraint",
        Value::Null,
    );

    assert_eq!(
        denied(&set(
            object.clone(),
            "/spec/disaggregatedTarget/roles/d",
            Value::Null
        )),
        NOTHING
    );
    assert_eq!(
        denied(&set(
            object,
            "/spec/disaggregatedTarget/roles/d",
            json!({"minReplicas": 3, "maxReplicas": 3})
        )),
        NOTHING
    );
}

#[rstest]
#[case::same_roles("denominatorRole", json!("p"), "spec.disaggregatedTarget.ratioConstraint.denominatorRole: Invalid value: \"p\": numeratorRole and denominatorRole must differ")]
#[case::unknown_numerator("numeratorRole", json!("x"), "spec.disaggregatedTarget.ratioConstraint.numeratorRole: Invalid value: \"x\": numeratorRole must exist in roles")]
#[case::unknown_denominator("denominatorRole", json!("x"), "spec.disaggregatedTarget.ratioConstraint.denominatorRole: Invalid value: \"x\": denominatorRole must exist in roles")]
#[case::reversed("minRatio", json!("2.5"), "spec.disaggregatedTarget.ratioConstraint.minRatio: Invalid value: \"2500m\": minRatio must be <= maxRatio")]
#[case::negative("minRatio", json!("-1"), "spec.disaggregatedTarget.ratioConstraint: Invalid value: \"ratio\": minRatio must be >= 0 and maxRatio must be > 0")]
#[case::infinite("maxRatio", json!("1e400"), "spec.disaggregatedTarget.ratioConstraint: Invalid value: \"ratio\": ratio values must be finite")]
fn ap_v6_ratio(#[case] field: &str, #[case] value: Value, #[case] expected: &str) {
    assert_eq!(
        denied(&set(
            pair(),
            &format!("{TARGET}/ratioConstraint/{field}"),
            value
        )),
        [expected]
    );
}

#[test]
fn ap_v6_roles_scale_to_zero_together() {
    assert_eq!(
        denied(&set(
            pair(),
            "/spec/disaggregatedTarget/roles/p/minReplicas",
            json!(0)
        )),
        [
            "spec.disaggregatedTarget.ratioConstraint: Invalid value: \"scale-to-zero bounds\": ratio roles must be scalable-to-zero together"
        ]
    );
}

#[rstest]
#[case::always_too_high(json!([9, 9]), json!([1, 4]), true)]
#[case::always_too_low(json!([1, 1]), json!([4, 8]), true)]
#[case::just_low_enough(json!([8, 8]), json!([1, 4]), false)]
#[case::just_high_enough(json!([1, 2]), json!([4, 8]), false)]
fn ap_v6_ratio_is_achievable(
    #[case] numerator: Value,
    #[case] denominator: Value,
    #[case] refused: bool,
) {
    // A fixed role inherits no metrics and so takes no sources.
    let bounds = |bounds: &Value| {
        let mut role = json!({"minReplicas": bounds[0], "maxReplicas": bounds[1]});
        if bounds[0] != bounds[1] {
            role["metricSources"] = json!({"m": {}});
        }
        role
    };
    let roles = json!({"p": bounds(&numerator), "d": bounds(&denominator)});

    let found = denied(&set(pair(), "/spec/disaggregatedTarget/roles", roles));

    let expected = "spec.disaggregatedTarget.ratioConstraint: Invalid value: \"bounds\": ratioConstraint is not achievable within role replica bounds";
    assert_eq!(found, vec![expected; usize::from(refused)]);
}

#[rstest]
#[case::down_period("scaleDown", "period", "stable policy period")]
#[case::down_window(
    "scaleDown",
    "stabilizationWindow",
    "stable policy stabilization window"
)]
#[case::up_period("scaleUp.stablePolicy", "period", "stable policy period")]
#[case::up_window(
    "scaleUp.stablePolicy",
    "stabilizationWindow",
    "stable policy stabilization window"
)]
#[case::panic_period("scaleUp.panicPolicy", "period", "panic policy period")]
#[case::panic_hold("scaleUp.panicPolicy", "panicModeHold", "panic policy panic mode hold")]
fn ap_v7_durations(
    #[case] place: &str,
    #[case] field: &str,
    #[case] name: &str,
    #[values(("30m", None), ("0", None), ("30m1s", Some("30m1s")), ("-1s", Some("-1s")), ("1800001ms", Some("30m0.001s")))]
    value: (&str, Option<&str>),
) {
    let inner = json!({field: value.0});
    let behavior = match place.split_once('.') {
        Some((outer, name)) => json!({outer: {name: inner}}),
        None => json!({place: inner}),
    };

    let found = denied(&set(policy(), "/spec/behavior", behavior));

    let expected: Vec<String> = value
        .1
        .map(|shown| format!("spec.behavior.{place}.{field}: Invalid value: \"{shown}\": {name} must be between 0 and 30 minutes"))
        .into_iter()
        .collect();
    assert_eq!(found, expected);
}
