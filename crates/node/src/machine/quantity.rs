//! Kubernetes quantities as exact numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// One unit in the fixed-point form used here.
const UNIT: i128 = 1_000_000_000;

/// A quantity in billionths; `None` for a text that is not a quantity.
pub fn nano(quantity: &Quantity) -> Option<i128> {
    parse(&quantity.0)
}

/// Whole units, rounded up.
pub fn units(quantity: &Quantity) -> Option<i64> {
    i64::try_from(divide_up(nano(quantity)?, UNIT)).ok()
}

/// Thousandths, rounded up.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    i64::try_from(divide_up(nano(quantity)?, UNIT / 1000)).ok()
}

/// `value / divisor` rounded up, both in billionths.
pub fn divide_up(value: i128, divisor: i128) -> i128 {
    if divisor <= 0 {
        value
    } else {
        value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) > 0)
    }
}

fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = factor(suffix)?;
    let negative = number.starts_with('-');
    let digits = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = whole
        .parse::<i128>()
        .or_else(|error| if whole.is_empty() { Ok(0) } else { Err(error) })
        .ok()?;
    value = value.checked_mul(factor)?;
    for (index, digit) in (1_u32..).zip(fraction.bytes()) {
        let digit = i128::from(char::from(digit).to_digit(10)?);
        let Some(scale) = 10_i128.checked_pow(index) else {
            break;
        };
        value = value.checked_add(factor.checked_mul(digit)? / scale)?;
    }
    Some(if negative { -value } else { value })
}

/// Billionths in one of a suffix.
fn factor(suffix: &str) -> Option<i128> {
    let decimal = |power: u32| Some(10_i128.pow(power));
    let binary = |power: u32| 1024_i128.checked_pow(power)?.checked_mul(UNIT);
    match suffix {
        "n" => decimal(0),
        "u" => decimal(3),
        "m" => decimal(6),
        "" => decimal(9),
        "k" => decimal(12),
        "M" => decimal(15),
        "G" => decimal(18),
        "T" => decimal(21),
        "P" => decimal(24),
        "E" => decimal(27),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            decimal(
                u32::try_from(9 + exponent)
                    .ok()
                    .filter(|power| *power <= 30)?,
            )
        }
    }
}
