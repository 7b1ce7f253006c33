//! Resource quantities such as `500m` and `16Gi`, as whole billionths.

use kthena_api::quantity::Amount;
use serde_json::Value;

/// Billionths in one.
const ONE: i128 = 1_000_000_000;

/// The value of a quantity in JSON in billionths, `None` if it is none or too large.
pub(crate) fn read(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => nanos(text),
        Value::Number(number) => nanos(&number.to_string()),
        _ => None,
    }
}

/// The shortest text without a fraction: `3`, `500m` or `1n`.
pub(crate) fn write(value: i128) -> String {
    match value {
        _ if value % ONE == 0 => (value / ONE).to_string(),
        _ if value % (ONE / 1000) == 0 => format!("{}m", value / (ONE / 1000)),
        _ => format!("{value}n"),
    }
}

/// The value of a quantity in billionths, `None` if it is none or too large.
pub(crate) fn nanos(text: &str) -> Option<i128> {
    text.parse().ok().map(Amount::as_nanos)
}
