//! Defaults: those of the CRDs, and what an `AutoscalingPolicy` means where it says nothing.
//!
//! [`fill`] is what the API server does on a write. [`autoscaling_patch`] is what the mutating webhook adds, rules AP-M1
//! to AP-M5; [`effective_behavior`] is the outcome of both for whoever reads a policy, so that a policy that no webhook
//! has seen means the same.

use serde_json::{Value, json};

use crate::autoscaling_policy::{AutoscalingPolicySpec, PanicPolicy, StablePolicy};
use crate::duration::GoDuration;

#[cfg(test)]
mod tests;

/// Fills in the defaults of the CRD; an unknown kind stays as it is.
pub fn fill(kind: &str, object: &mut Value) {
    if let Some(schema) = crate::crd::schema(kind) {
        schema.fill_defaults(object);
    }
}

/// The JSON patch that completes the behaviour of a policy that has the defaults of the CRD already.
///
/// Applied twice it changes nothing more. An object without `spec` is left for validation to refuse.
pub fn autoscaling_patch(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    if !spec.is_object() {
        return Vec::new();
    }
    let behavior = &spec["behavior"];
    if is_zero(behavior) {
        let whole = json!({
            "scaleDown": stable_json(0, "5m0s"),
            "scaleUp": {"stablePolicy": stable_json(4, "0s"), "panicPolicy": panic_json()},
        });
        return vec![add("", whole)];
    }
    let mut patch = Vec::new();
    patch.extend(stable_patch(
        "/scaleDown",
        &behavior["scaleDown"],
        0,
        "5m0s",
        "5m",
    ));
    let up = &behavior["scaleUp"];
    if is_zero(up) {
        let whole = json!({"stablePolicy": stable_json(4, "0s"), "panicPolicy": panic_json()});
        patch.push(add("/scaleUp", whole));
        return patch;
    }
    patch.extend(stable_patch(
        "/scaleUp/stablePolicy",
        &up["stablePolicy"],
        4,
        "0s",
        "0s",
    ));
    if is_zero(&up["panicPolicy"]) {
        patch.push(add("/scaleUp/panicPolicy", panic_json()));
    }
    patch
}

fn add(path: &str, value: Value) -> Value {
    let mut operation = json!({"op": "add", "path": format!("/spec/behavior{path}")});
    operation["value"] = value;
    operation
}

fn stable_patch(
    path: &str,
    policy: &Value,
    instances: i32,
    full_window: &str,
    window: &str,
) -> Option<Value> {
    if is_zero(policy) {
        return Some(add(path, stable_json(instances, full_window)));
    }
    let missing = policy["stabilizationWindow"].is_null();
    missing.then(|| add(&format!("{path}/stabilizationWindow"), json!(window)))
}

fn stable_json(instances: i32, window: &str) -> Value {
    json!({
        "instances": instances,
        "percent": 100,
        "period": "1m0s",
        "selectPolicy": "Or",
        "stabilizationWindow": window,
    })
}

fn panic_json() -> Value {
    json!({"percent": 0, "period": "0s", "panicThresholdPercent": 200, "panicModeHold": "0s"})
}

/// True for what a Go reader takes as a zero value: nothing is set, or only the period of a panic policy, to zero.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.iter().all(|(name, member)| {
            let no_period = name == "period" && matches!(member.as_str(), Some("0" | "0s"));
            no_period || (is_zero(member) && (member.is_null() || member.is_object()))
        }),
        _ => false,
    }
}

/// How fast a policy scales, with nothing left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveBehavior {
    /// Down.
    pub scale_down: EffectiveStable,
    /// Up, normally.
    pub scale_up: EffectiveStable,
    /// Up, under a sudden rise.
    pub panic: EffectivePanic,
}

/// Limits of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveStable {
    /// Largest step per period.
    pub instances: i32,
    /// Largest step per period, in percent of the current count.
    pub percent: i32,
    /// The period.
    pub period: GoDuration,
    /// Which of the two limits counts.
    pub select: SelectPolicy,
    /// How far back recommendations count.
    pub stabilization_window: GoDuration,
}

/// Limits under a sudden rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectivePanic {
    /// Largest step per period, in percent of the current count.
    pub percent: i32,
    /// The period.
    pub period: GoDuration,
    /// Rise that starts it, in percent.
    pub threshold_percent: i32,
    /// How long it lasts; 0 = it never starts.
    pub hold: GoDuration,
}

/// Which of two limits of a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The laxer.
    Or,
    /// The stricter.
    And,
}

const MINUTE: GoDuration = GoDuration::from_secs(60);
const NOTHING: GoDuration = GoDuration::from_nanos(0);

/// What a policy means: each part that is absent gets the full default set, each part that is present the CRD's
/// defaults for what it leaves out. `scaleDown: {}` is present, `scaleUp: {}` says nothing about its parts.
pub fn effective_behavior(spec: &AutoscalingPolicySpec) -> EffectiveBehavior {
    let behavior = spec.behavior.as_ref();
    let up = behavior.and_then(|behavior| behavior.scale_up.as_ref());
    let down = behavior.and_then(|behavior| behavior.scale_down.as_ref());
    EffectiveBehavior {
        scale_down: effective_stable(down, 0, MINUTE.saturating_mul(5)),
        scale_up: effective_stable(up.and_then(|up| up.stable_policy.as_ref()), 4, NOTHING),
        panic: effective_panic(up.and_then(|up| up.panic_policy.as_ref())),
    }
}

fn effective_stable(
    policy: Option<&StablePolicy>,
    instances: i32,
    window: GoDuration,
) -> EffectiveStable {
    let Some(policy) = policy else {
        let select = SelectPolicy::Or;
        return EffectiveStable {
            instances,
            percent: 100,
            period: MINUTE,
            select,
            stabilization_window: window,
        };
    };
    EffectiveStable {
        instances: policy.instances.unwrap_or(1),
        percent: policy.percent.unwrap_or(100),
        period: policy.period.unwrap_or(GoDuration::from_secs(15)),
        select: match policy.select_policy.as_deref() {
            Some("And") => SelectPolicy::And,
            _ => SelectPolicy::Or,
        },
        stabilization_window: policy.stabilization_window.unwrap_or(window),
    }
}

fn effective_panic(policy: Option<&PanicPolicy>) -> EffectivePanic {
    let Some(policy) = policy else {
        return EffectivePanic {
            percent: 0,
            period: NOTHING,
            threshold_percent: 200,
            hold: NOTHING,
        };
    };
    EffectivePanic {
        percent: policy.percent.unwrap_or(1000),
        period: policy.period.unwrap_or(NOTHING),
        threshold_percent: policy.panic_threshold_percent.unwrap_or(200),
        hold: policy.panic_mode_hold.unwrap_or(MINUTE),
    }
}
