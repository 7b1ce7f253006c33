use rstest::rstest;
use serde_json::{Value, json};

use super::{autoscaling_patch, effective_behavior};
use crate::admission::Rules;
use crate::autoscaling_policy::{AutoscalingPolicy, AutoscalingPolicySpec};
use crate::settle;

fn policy(behavior: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "p"}, "spec": {
        "metrics": [{"name": "m", "targetValue": "1"}],
        "homogeneousTarget": {"target": {"targetRef": {"name": "s"}}, "minReplicas": 1, "maxReplicas": 2},
    }});
    if !behavior.is_null() {
        object["spec"]["behavior"] = behavior.clone();
    }
    object
}

fn stable(instances: i32, period: &str, window: &str) -> Value {
    json!({"instances": instances, "percent": 100, "period": period, "selectPolicy": "Or", "stabilizationWindow": window})
}

fn down() -> Value {
    stable(0, "1m0s", "5m0s")
}

fn up() -> Value {
    stable(4, "1m0s", "0s")
}

fn panic_of(percent: i32, period: &str, hold: &str) -> Value {
    json!({"percent": percent, "period": period, "panicThresholdPercent": 200, "panicModeHold": hold})
}

fn panic_off() -> Value {
    panic_of(0, "0s", "0s")
}

#[rstest]
#[case::nothing(Value::Null, down(), up(), panic_off())]
#[case::empty(json!({}), down(), up(), panic_off())]
#[case::empty_scale_up(json!({"scaleUp": {}}), down(), up(), panic_off())]
#[case::empty_scale_down(json!({"scaleDown": {}}), stable(1, "15s", "5m"), up(), panic_off())]
#[case::empty_stable(json!({"scaleUp": {"stablePolicy": {}}}), down(), stable(1, "15s", "0s"), panic_off())]
#[case::panic_period(json!({"scaleUp": {"panicPolicy": {"period": "5s"}}}), down(), up(), panic_of(1000, "5s", "60s"))]
#[case::typed_client(
    json!({"scaleUp": {"stablePolicy": {}, "panicPolicy": {"period": "0s"}}, "scaleDown": {}}),
    stable(1, "15s", "5m"), stable(1, "15s", "0s"), panic_of(1000, "0s", "60s")
)]
fn ap_m6_stored_behavior(
    #[case] written: Value,
    #[case] scale_down: Value,
    #[case] scale_up: Value,
    #[case] panic: Value,
) {
    let settled = settle("AutoscalingPolicy", &policy(&written)).object;

    let expected = json!({"scaleDown": scale_down, "scaleUp": {"stablePolicy": scale_up, "panicPolicy": panic}});
    assert_eq!(settled["spec"]["behavior"], expected);
}

#[rstest]
#[case::ap_m1_whole(Value::Null, &["/spec/behavior"])]
#[case::ap_m1_all_zero(json!({"scaleUp": {"stablePolicy": {}, "panicPolicy": {"period": "0s"}}, "scaleDown": {}}), &["/spec/behavior"])]
#[case::ap_m2_window(json!({"scaleDown": {"instances": 2}}), &["/spec/behavior/scaleDown/stabilizationWindow", "/spec/behavior/scaleUp"])]
#[case::ap_m2_part(json!({"scaleDown": {}, "scaleUp": {"stablePolicy": {"instances": 1, "stabilizationWindow": "1s"}, "panicPolicy": {"period": "1s"}}}), &["/spec/behavior/scaleDown"])]
#[case::ap_m3_part(json!({"scaleDown": {"stabilizationWindow": "1s"}}), &["/spec/behavior/scaleUp"])]
#[case::ap_m4_part(json!({"scaleDown": {"stabilizationWindow": "1s"}, "scaleUp": {"panicPolicy": {"period": "1s"}}}), &["/spec/behavior/scaleUp/stablePolicy"])]
#[case::ap_m4_window(json!({"scaleDown": {"stabilizationWindow": "1s"}, "scaleUp": {"stablePolicy": {"instances": 1}, "panicPolicy": {"period": "1s"}}}), &["/spec/behavior/scaleUp/stablePolicy/stabilizationWindow"])]
#[case::ap_m5_part(json!({"scaleDown": {"stabilizationWindow": "1s"}, "scaleUp": {"stablePolicy": {"stabilizationWindow": "1s"}}}), &["/spec/behavior/scaleUp/panicPolicy"])]
#[case::ap_m5_partial_is_left_alone(json!({"scaleDown": {"stabilizationWindow": "1s"}, "scaleUp": {"stablePolicy": {"stabilizationWindow": "1s"}, "panicPolicy": {"percent": 5}}}), &[])]
fn patch_paths(#[case] behavior: Value, #[case] expected: &[&str]) {
    let patch = autoscaling_patch(&policy(&behavior));

    let paths: Vec<&str> = patch
        .iter()
        .filter_map(|operation| operation["path"].as_str())
        .collect();
    assert_eq!(paths, expected);
    assert!(patch.iter().all(|operation| operation["op"] == "add"));
}

#[rstest]
#[case::nothing(Value::Null)]
#[case::empty_scale_down(json!({"scaleDown": {}}))]
#[case::panic_period(json!({"scaleUp": {"panicPolicy": {"period": "5s"}}}))]
fn ap_m7_second_run_changes_nothing(#[case] written: Value) {
    let settled = settle("AutoscalingPolicy", &policy(&written)).object;

    assert_eq!(
        Rules::AutoscalingPolicy.mutate(&settled),
        Vec::<Value>::new()
    );
    assert_eq!(settle("AutoscalingPolicy", &settled).object, settled);
}

#[rstest]
#[case::absent(json!({}))]
#[case::null(json!({"spec": null}))]
fn ap_m8_without_spec_there_is_no_patch(#[case] object: Value) {
    assert_eq!(autoscaling_patch(&object), Vec::<Value>::new());
}

#[rstest]
fn ap_m9_reading_gives_what_admission_stores(
    #[values(
        Value::Null,
        json!({}),
        json!({"scaleUp": {}}),
        json!({"scaleDown": {}}),
        json!({"scaleUp": {"stablePolicy": {}}}),
        json!({"scaleUp": {"panicPolicy": {"period": "5s"}}}),
        json!({"scaleUp": {"stablePolicy": {}, "panicPolicy": {"period": "0s"}}, "scaleDown": {}}),
        json!({"scaleDown": {"selectPolicy": "And", "instances": 7, "stabilizationWindow": "90s"}}),
    )]
    written: Value,
) {
    let spec = |object: &Value| -> AutoscalingPolicySpec {
        let policy: AutoscalingPolicy =
            serde_json::from_value(object.clone()).expect("is a policy");
        policy.spec
    };
    let raw = policy(&written);
    let stored = settle("AutoscalingPolicy", &raw).object;

    assert_eq!(
        effective_behavior(&spec(&raw)),
        effective_behavior(&spec(&stored))
    );
}
