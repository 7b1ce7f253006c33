//! Ranges, factors and the formats of numbers.

use serde_json::Number;

use super::push_invalid;
use crate::fault::Fault;
use crate::format::Format;
use crate::node::{Bound, Kind, Limits, Node};
use crate::path::{FieldPath, Trail};

pub(super) fn check(
    node: &Node,
    limits: Option<&Limits>,
    number: &Number,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
) {
    check_range(node, number, trail, faults);
    let Some(limits) = limits else { return };
    if let Some(factor) = limits
        .multiple_of
        .as_ref()
        .filter(|factor| !is_multiple(number, factor))
    {
        push_invalid(
            faults,
            trail,
            number.clone(),
            &format!("should be a multiple of {}", shown(number, factor)),
        );
    }
    if let Some(bound) = limits
        .minimum
        .as_ref()
        .filter(|bound| !within(bound, number, true))
    {
        let words = if bound.exclusive {
            "greater than"
        } else {
            "greater than or equal to"
        };
        push_invalid(
            faults,
            trail,
            number.clone(),
            &format!("should be {words} {}", shown(number, &bound.value)),
        );
    }
    if let Some(bound) = limits
        .maximum
        .as_ref()
        .filter(|bound| !within(bound, number, false))
    {
        let words = if bound.exclusive {
            "less than"
        } else {
            "less than or equal to"
        };
        push_invalid(
            faults,
            trail,
            number.clone(),
            &format!("should be {words} {}", shown(number, &bound.value)),
        );
    }
}

/// Integers must fit their format.
fn check_range(node: &Node, number: &Number, trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    if node.kind != Some(Kind::Integer) {
        return;
    }
    let fits = match node.format {
        Some(Format::Int32) => integer(number).is_some_and(|value| i32::try_from(value).is_ok()),
        _ => integer(number).is_some(),
    };
    if !fits {
        let path = trail.path();
        let format = node.format.map_or_else(
            || "(default format)".to_owned(),
            |format| format!("with format {}", format.name()),
        );
        let detail = format!(
            "Checked value must be of type integer {format} in {}",
            path.as_str()
        );
        faults.push(Fault::invalid(FieldPath::root(), "", detail));
    }
}

/// The number as an integer, if it is one that can be held.
fn integer(number: &Number) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked; the bound itself is excluded"
    )]
    number.as_i64().or_else(|| {
        let float = number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 9.2e18)?;
        Some(float as i64)
    })
}

fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn within(bound: &Bound, number: &Number, from_below: bool) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match compare(number, &bound.value) {
        Some(Equal) => !bound.exclusive,
        Some(Greater) => from_below,
        Some(Less) => !from_below,
        None => false,
    }
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (integer(number), integer(factor)) {
        (Some(number), Some(factor)) => factor != 0 && number % factor == 0,
        _ => number
            .as_f64()
            .zip(factor.as_f64())
            .is_some_and(|(number, factor)| (number / factor).fract() == 0.0),
    }
}

/// A limit as it is shown beside this value: whole beside integers.
fn shown(beside: &Number, limit: &Number) -> String {
    match (beside.is_f64(), integer(limit), limit.as_f64()) {
        (false, Some(limit), _) => limit.to_string(),
        (_, _, Some(limit)) => crate::go::float(limit),
        _ => limit.to_string(),
    }
}
