//! Counts that may be given as a share.

use kthena_schema::Fault;
use serde_json::Value;

use super::at::At;
use crate::int_or_percent::{IntOrPercent, Rounding};

const PERCENT_FORM: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The form of a count or share: a non-negative integer or `0%` to `100%`.
pub(super) fn check_form(at: &At<'_>, faults: &mut Vec<Fault>) {
    match at.value {
        Value::String(text) => {
            let digits = text
                .strip_suffix('%')
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
            match digits {
                None => faults.push(at.invalid(PERCENT_FORM)),
                // A number too long to be held is above 100 as well.
                Some(digits) if digits.parse::<u64>().is_ok_and(|percent| percent <= 100) => {}
                Some(_) => faults.push(at.invalid("must be a valid percent value (0-100)")),
            }
        }
        _ if at.int().is_some_and(|count| count < 0) => {
            faults.push(at.invalid("must be a non-negative integer"));
        }
        _ => {}
    }
}

/// The count out of `total`, rounded down; reports a text that is no share.
pub(super) fn scaled_down(at: &At<'_>, total: i64, faults: &mut Vec<Fault>) -> Option<i64> {
    if at.value.is_string() {
        let total = i32::try_from(total).ok()?;
        let scaled = IntOrPercent::Text(at.text().to_owned()).scaled(total, Rounding::Down);
        if scaled.is_none() {
            let why = if at.text().ends_with('%') {
                format!(
                    "invalid value {}: must be a number followed by %",
                    kthena_schema::go::quote(at.text())
                )
            } else {
                "invalid type: string is not a percentage".to_owned()
            };
            faults.push(at.invalid(format!(
                "invalid maxUnavailable: invalid value for IntOrString: {why}"
            )));
        }
        return scaled.map(i64::from);
    }
    at.int()
}
