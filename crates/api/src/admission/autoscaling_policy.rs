//! Rules AP-V1 to AP-V5 and AP-V7; AP-V6 is in `ratio`.

use std::collections::BTreeSet;

use kthena_schema::Fault;
use serde_json::Value;

use super::at::At;
use super::{invalid, malformed, ratio};
use crate::duration::GoDuration;
use crate::quantity::{Amount, QuantityError};

const LONGEST: GoDuration = GoDuration::from_secs(30 * 60);

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let spec = root.field("spec");
    let metrics = spec.field("metrics");
    check_metrics(&metrics, faults);
    check_targets(&spec, faults);
    let alike = ["homogeneousTarget", "heterogeneousTarget"]
        .iter()
        .any(|name| !spec.field(name).is_absent());
    if alike && metrics.len() == 0 {
        faults.push(metrics.required("at least one metric must be set"));
    }
    let disaggregated = spec.field("disaggregatedTarget");
    if !disaggregated.is_absent() {
        for (name, role) in disaggregated.field("roles").entries() {
            check_role(name, &role, &metrics, &disaggregated, faults);
        }
        ratio::check(&disaggregated, faults);
    }
    check_durations(&spec, faults);
}

/// An amount as it is shown in messages: in its canonical form where it can be read.
pub(super) fn shown(at: &At<'_>) -> Value {
    match amount(at) {
        Some(Ok(amount)) => Value::String(amount.to_string()),
        _ => at.value.clone(),
    }
}

/// The amount, if there is a value at all.
pub(super) fn amount(at: &At<'_>) -> Option<Result<Amount, QuantityError>> {
    match at.value {
        Value::String(text) => Some(text.parse()),
        Value::Number(number) => Some(number.to_string().parse()),
        _ => None,
    }
}

fn check_metrics(metrics: &At<'_>, faults: &mut Vec<Fault>) {
    let mut seen = BTreeSet::new();
    for metric in metrics.items() {
        let target = metric.field("targetValue");
        // A text that is no quantity is reported as such already.
        let acceptable = match amount(&target) {
            Some(Ok(amount)) => amount.is_positive(),
            Some(Err(QuantityError::Malformed)) => true,
            Some(Err(QuantityError::TooLarge)) | None => false,
        };
        if !acceptable {
            let detail = "metric target value must be greater than 0 and not equal to infinity";
            faults.push(invalid(target.path.clone(), shown_or_zero(&target), detail));
        }
        let name = metric.field("name");
        if !seen.insert(name.text()) {
            faults.push(name.invalid(format!(
                "duplicate metric name {} is not allowed",
                name.text()
            )));
        }
    }
}

/// A missing amount reads as nothing.
fn shown_or_zero(at: &At<'_>) -> Value {
    if at.is_absent() {
        Value::String("0".to_owned())
    } else {
        shown(at)
    }
}

fn check_targets(spec: &At<'_>, faults: &mut Vec<Fault>) {
    let targets = [
        "homogeneousTarget",
        "heterogeneousTarget",
        "disaggregatedTarget",
    ]
    .map(|name| spec.field(name));
    let count = targets.iter().filter(|target| !target.is_absent()).count();
    if count != 1 {
        let detail = "exactly one of homogeneousTarget, heterogeneousTarget, or disaggregatedTarget must be set";
        faults.push(invalid(spec.path.clone(), count, detail));
        return;
    }
    let [homogeneous, heterogeneous, disaggregated] = targets;
    if !homogeneous.is_absent() {
        check_reference(&homogeneous.field("target").field("targetRef"), faults);
    }
    for param in heterogeneous.field("params").items() {
        check_reference(&param.field("target").field("targetRef"), faults);
    }
    if !disaggregated.is_absent() {
        check_reference(&disaggregated.field("targetRef"), faults);
    }
}

fn check_reference(reference: &At<'_>, faults: &mut Vec<Fault>) {
    let kind = reference.field("kind");
    if !matches!(kind.text(), "" | "ModelServing") {
        faults.push(kind.invalid(format!(
            "targetRef.kind must be ModelServing, but got {}",
            kind.text()
        )));
    }
    let name = reference.field("name");
    if name.text().is_empty() {
        faults.push(invalid(
            name.path,
            "",
            "targetRef.name must be set, but got empty",
        ));
    }
}

fn check_role(
    name: &str,
    role: &At<'_>,
    shared: &At<'_>,
    target: &At<'_>,
    faults: &mut Vec<Fault>,
) {
    if name.is_empty() {
        let detail = "role name must refer to a ModelServing.spec.template.roles[].name and must not be empty";
        faults.push(invalid(target.field("roles").path, "", detail));
        return;
    }
    let (least, most) = (role.field("minReplicas"), role.field("maxReplicas"));
    let (min, max) = (least.int().unwrap_or(0), most.int().unwrap_or(0));
    if min > max {
        faults.push(invalid(
            least.path,
            min,
            "minReplicas must be <= maxReplicas",
        ));
    }
    let fixed = max > 0 && min == max;
    let own = role.field("metrics");
    if !fixed && own.len() == 0 && shared.len() == 0 {
        faults.push(
            own.required("metrics must be set on every non-fixed role when spec.metrics is empty"),
        );
    }
    check_metrics(&own, faults);
    let effective = match (own.len(), fixed) {
        (0, true) => BTreeSet::new(),
        (0, false) => metric_names(shared),
        _ => metric_names(&own),
    };
    check_sources(&role.field("metricSources"), fixed, &effective, faults);
}

fn metric_names<'v>(metrics: &At<'v>) -> BTreeSet<&'v str> {
    metrics
        .items()
        .map(|metric| metric.field("name").text())
        .collect()
}

fn check_sources(
    sources: &At<'_>,
    fixed: bool,
    effective: &BTreeSet<&str>,
    faults: &mut Vec<Fault>,
) {
    if !fixed && !effective.is_empty() && sources.len() == 0 {
        let detail =
            "metricSources must be set on every non-fixed role when metrics are configured";
        faults.push(invalid(sources.path.clone(), 0, detail));
        return;
    }
    for (key, source) in sources
        .entries()
        .filter(|(key, _)| !effective.contains(key))
    {
        faults.push(invalid(
            source.path,
            key,
            "metricSources key must match an effective metric name",
        ));
    }
}

fn check_durations(spec: &At<'_>, faults: &mut Vec<Fault>) {
    for (at, name) in malformed::behavior_durations(spec) {
        let Ok(duration) = at.text().parse::<GoDuration>() else {
            continue;
        };
        if duration < GoDuration::default() || duration > LONGEST {
            let detail = format!("{name} must be between 0 and 30 minutes");
            faults.push(invalid(at.path, duration.to_string(), detail));
        }
    }
}
