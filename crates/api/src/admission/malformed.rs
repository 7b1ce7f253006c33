//! Values that the schema lets through, or that an older schema let through, but that a typed reader cannot take.

use kthena_schema::{Fault, FaultKind};

use super::Rules;
use super::at::At;
use crate::duration::GoDuration;
use crate::quantity::Amount;

const JSON_TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Wrong JSON types first, then durations and quantities that cannot be read.
pub(super) fn find(rules: Rules, root: &At<'_>) -> Vec<Fault> {
    let mut faults = wrong_types(rules, root);
    let spec = root.field("spec");
    match rules {
        Rules::ModelServer => {
            let policy = spec.field("trafficPolicy");
            check_duration(&policy.field("timeout"), &mut faults);
            check_duration(&policy.field("retry").field("retryInterval"), &mut faults);
        }
        Rules::AutoscalingPolicy => {
            for (at, _) in behavior_durations(&spec) {
                check_duration(&at, &mut faults);
            }
            for at in quantities(&spec) {
                check_quantity(&at, &mut faults);
            }
        }
        _ => {}
    }
    faults
}

/// `null` is no wrong type: it reads as absent.
fn wrong_types(rules: Rules, root: &At<'_>) -> Vec<Fault> {
    let Some(schema) = crate::crd::schema(rules.kind()) else {
        return Vec::new();
    };
    let mut faults = schema.validate(root.value, None);
    faults.retain(|fault| {
        let got = fault.value.as_ref().and_then(serde_json::Value::as_str);
        fault.kind == FaultKind::TypeInvalid && got.is_some_and(|name| JSON_TYPES.contains(&name))
    });
    faults
}

/// The durations of a behaviour in the order they are judged, with what each is called.
pub(super) fn behavior_durations<'v>(spec: &At<'v>) -> Vec<(At<'v>, &'static str)> {
    let behavior = spec.field("behavior");
    let (down, up) = (behavior.field("scaleDown"), behavior.field("scaleUp"));
    let (stable, panic) = (up.field("stablePolicy"), up.field("panicPolicy"));
    vec![
        (down.field("period"), "stable policy period"),
        (
            down.field("stabilizationWindow"),
            "stable policy stabilization window",
        ),
        (stable.field("period"), "stable policy period"),
        (
            stable.field("stabilizationWindow"),
            "stable policy stabilization window",
        ),
        (panic.field("period"), "panic policy period"),
        (panic.field("panicModeHold"), "panic policy panic mode hold"),
    ]
}

fn quantities<'v>(spec: &At<'v>) -> Vec<At<'v>> {
    let target = spec.field("disaggregatedTarget");
    let ratio = target.field("ratioConstraint");
    let mut found: Vec<At<'v>> = spec
        .field("metrics")
        .items()
        .map(|metric| metric.field("targetValue"))
        .collect();
    for (_, role) in target.field("roles").entries() {
        found.extend(
            role.field("metrics")
                .items()
                .map(|metric| metric.field("targetValue")),
        );
    }
    found.extend([ratio.field("minRatio"), ratio.field("maxRatio")]);
    found
}

fn check_duration(at: &At<'_>, faults: &mut Vec<Fault>) {
    if let Some(text) = at.value.as_str()
        && let Err(error) = text.parse::<GoDuration>()
    {
        faults.push(at.invalid(format!("time: {error}")));
    }
}

fn check_quantity(at: &At<'_>, faults: &mut Vec<Fault>) {
    if let Some(text) = at.value.as_str()
        && let Err(error @ crate::quantity::QuantityError::Malformed) = text.parse::<Amount>()
    {
        faults.push(at.invalid(error.to_string()));
    }
}
