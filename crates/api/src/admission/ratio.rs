//! Rule AP-V6: a ratio between two roles must be one that their replica bounds allow.

use std::cmp::Ordering;

use kthena_schema::{Fault, FieldPath};

use super::at::At;
use super::autoscaling_policy::{amount, shown};
use super::invalid;
use crate::quantity::{Amount, QuantityError};

pub(super) fn check(target: &At<'_>, faults: &mut Vec<Fault>) {
    let ratio = target.field("ratioConstraint");
    if ratio.is_absent() {
        return;
    }
    let (numerator, denominator) = (ratio.field("numeratorRole"), ratio.field("denominatorRole"));
    if numerator.text() == denominator.text() {
        let detail = "numeratorRole and denominatorRole must differ";
        faults.push(invalid(
            denominator.path.clone(),
            denominator.text(),
            detail,
        ));
    }
    let roles = target.field("roles");
    let role = |name: &At<'_>| {
        roles
            .entries()
            .find(|(key, _)| *key == name.text())
            .map(|(_, role)| role)
    };
    let (upper, lower) = (role(&numerator), role(&denominator));
    if upper.is_none() {
        faults.push(invalid(
            numerator.path,
            numerator.value.clone(),
            "numeratorRole must exist in roles",
        ));
    }
    if lower.is_none() {
        faults.push(invalid(
            denominator.path,
            denominator.value.clone(),
            "denominatorRole must exist in roles",
        ));
    }
    let (least, most) = (ratio.field("minRatio"), ratio.field("maxRatio"));
    let bounds = (amount(&least), amount(&most));
    if let (Some(Ok(min)), Some(Ok(max))) = bounds
        && min > max
    {
        faults.push(invalid(
            least.path.clone(),
            shown(&least),
            "minRatio must be <= maxRatio",
        ));
    }
    if let (Some(upper), Some(lower)) = (upper, lower) {
        check_bounds(
            &ratio.path,
            &Replicas::of(&upper),
            &Replicas::of(&lower),
            bounds,
            faults,
        );
    }
}

struct Replicas {
    min: i64,
    max: i64,
}

impl Replicas {
    fn of(role: &At<'_>) -> Self {
        let count = |name| role.field(name).int().unwrap_or(0);
        Self {
            min: count("minReplicas"),
            max: count("maxReplicas"),
        }
    }
}

type Bound = Option<Result<Amount, QuantityError>>;

fn check_bounds(
    path: &FieldPath,
    upper: &Replicas,
    lower: &Replicas,
    bounds: (Bound, Bound),
    faults: &mut Vec<Fault>,
) {
    let mut fault = |value: &str, detail: &str| faults.push(invalid(path.clone(), value, detail));
    if (upper.min == 0) != (lower.min == 0) {
        fault(
            "scale-to-zero bounds",
            "ratio roles must be scalable-to-zero together",
        );
    }
    let (least, most) = match bounds {
        (Some(Ok(least)), Some(Ok(most))) => (least, most),
        (Some(Err(QuantityError::TooLarge)), _) | (_, Some(Err(QuantityError::TooLarge))) => {
            fault("ratio", "ratio values must be finite");
            return;
        }
        // Missing or malformed: the schema, or the check of quantities, says so.
        _ => return,
    };
    if least.is_negative() || !most.is_positive() {
        fault("ratio", "minRatio must be >= 0 and maxRatio must be > 0");
        return;
    }
    let unreachable = "ratioConstraint is not achievable within role replica bounds";
    let too_high = lower.max > 0 && most.cmp_fraction(upper.min, lower.max) == Ordering::Less;
    if too_high || (lower.max <= 0 && upper.min > 0) {
        fault("bounds", unreachable);
    }
    if lower.min > 0 && least.cmp_fraction(upper.max, lower.min) == Ordering::Greater {
        fault("bounds", unreachable);
    }
}
