//! Resource quantities such as `500m` and `16Gi`, as whole billionths.

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
