//! The canonical form of a role: two roles with the same meaning have the same text.
//!
//! Counts that are scaled or that only steer a rollout are left out. What a typed Go client drops or adds when it
//! writes an object (nulls, empty lists, false where false is the default) is dropped, and quantities are compared
//! by value, so that neither a round trip through another controller nor a library upgrade looks like a change.

use kthena_api::model_serving::Role;
use serde_json::{Map, Value};

/// Members of a role that are not part of its template.
const STEERING: [&str; 3] = ["replicas", "maxUnavailable", "partition"];
/// Maps whose values are the user's, empty or not.
const VERBATIM: [&str; 4] = ["labels", "annotations", "nodeSelector", "matchLabels"];
/// Members where an empty value differs from none.
const MEANINGFUL_WHEN_EMPTY: [&str; 3] = ["namespaceSelector", "labelSelector", "storageClassName"];
/// Members where `false` or 0 is the same as none.
const DEFAULT_WHEN_ZERO: [&str; 13] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "hostPort",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
];
/// Maps of quantities.
const QUANTITY_MAPS: [&str; 3] = ["limits", "requests", "overhead"];
/// Single quantities.
const QUANTITIES: [&str; 2] = ["sizeLimit", "divisor"];

/// Canonical JSON text of a role's template.
pub(crate) fn role(role: &Role) -> String {
    // Only strings as keys and no failing number in it: a role always has a JSON form.
    let mut value = serde_json::to_value(role).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.retain(|key, _| !STEERING.contains(&key.as_str()));
        clean_object(members);
    }
    value.to_string()
}

fn clean_object(members: &mut Map<String, Value>) {
    members.retain(|key, value| {
        let key = key.as_str();
        if VERBATIM.contains(&key) {
            return !is_empty(value);
        }
        if QUANTITY_MAPS.contains(&key) {
            clean_quantities(value);
        } else if QUANTITIES.contains(&key) {
            clean_quantity(value);
        } else {
            clean(value);
        }
        if MEANINGFUL_WHEN_EMPTY.contains(&key) {
            return !value.is_null();
        }
        let is_default = match value {
            Value::Bool(false) => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            _ => false,
        };
        !(is_empty(value) || is_default && DEFAULT_WHEN_ZERO.contains(&key))
    });
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(members) => clean_object(members),
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn clean_quantities(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(clean_quantity);
    }
}

fn clean_quantity(value: &mut Value) {
    let nanos = match &*value {
        Value::String(text) => nanos(text),
        Value::Number(number) => nanos(&number.to_string()),
        _ => None,
    };
    if let Some(nanos) = nanos {
        *value = Value::String(format!("{nanos}n"));
    }
}

/// The value of a quantity in billionths, `None` if it is none or too large.
fn nanos(text: &str) -> Option<i128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let scale = match suffix {
        "n" => Scale::Decimal(-9),
        "u" => Scale::Decimal(-6),
        "m" => Scale::Decimal(-3),
        "" => Scale::Decimal(0),
        "k" => Scale::Decimal(3),
        "M" => Scale::Decimal(6),
        "G" => Scale::Decimal(9),
        "T" => Scale::Decimal(12),
        "P" => Scale::Decimal(15),
        "E" => Scale::Decimal(18),
        "Ki" => Scale::Binary(10),
        "Mi" => Scale::Binary(20),
        "Gi" => Scale::Binary(30),
        "Ti" => Scale::Binary(40),
        "Pi" => Scale::Binary(50),
        "Ei" => Scale::Binary(60),
        _ => Scale::Decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    scaled(number, scale)
}

#[derive(Clone, Copy)]
enum Scale {
    Decimal(i32),
    Binary(u32),
}

fn scaled(number: &str, scale: Scale) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let (factor, exponent) = match scale {
        Scale::Decimal(exponent) => (1, exponent.checked_add(9)?.checked_sub(places)?),
        Scale::Binary(bits) => (1_i128.checked_shl(bits)?, 9 - places),
    };
    let value = mantissa.checked_mul(factor)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    // What is smaller than a billionth is rounded up, as the API server does.
    let nanos = if exponent >= 0 {
        value.checked_mul(power)?
    } else {
        (value + power - 1) / power
    };
    Some(sign * nanos)
}

#[cfg(test)]
mod tests;
