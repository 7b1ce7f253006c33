//! How a Kubernetes quantity such as `500m`, `2Gi` or `1e3` is read: exactly, without floats.

/// The family of suffixes a quantity was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `m`, `k`, `M`, …
    Decimal,
    /// `Ki`, `Mi`, …
    Binary,
    /// `e3`, `e6`, …
    Exponent,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with an optional suffix.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Malformed,
    /// Too large to be held exactly.
    #[error("the quantity is too large")]
    TooLarge,
}

/// Billionths of a quantity, and how it was written. What is finer is rounded away from zero, as Kubernetes does.
pub fn parse(text: &str) -> Result<(i128, Form), QuantityError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Malformed);
    }
    let (form, power) = suffix_of(suffix)?;
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let digits = digits.trim_start_matches('0');
    let mantissa: i128 = match digits {
        "" => 0,
        digits => digits.parse().map_err(|_| QuantityError::TooLarge)?,
    };
    let places =
        i32::try_from(fraction.trim_end_matches('0').len()).map_err(|_| QuantityError::TooLarge)?;
    let magnitude = match power {
        Power::Ten(power) => scale(mantissa, power.saturating_add(9).saturating_sub(places)),
        Power::Two(power) => mantissa
            .checked_mul(1 << power)
            .ok_or(QuantityError::TooLarge)
            .and_then(|value| scale(value, 9 - places)),
    }?;
    let nanos = if negative { -magnitude } else { magnitude };
    Ok((nanos, form))
}

enum Power {
    Ten(i32),
    Two(u32),
}

fn suffix_of(suffix: &str) -> Result<(Form, Power), QuantityError> {
    let decimal = |power| Ok((Form::Decimal, Power::Ten(power)));
    let binary = |power| Ok((Form::Binary, Power::Two(power)));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix
                .strip_prefix(['e', 'E'])
                .ok_or(QuantityError::Malformed)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(QuantityError::Malformed);
            }
            let power = exponent
                .parse::<i32>()
                .map_err(|_| QuantityError::TooLarge)?;
            Ok((Form::Exponent, Power::Ten(power)))
        }
    }
}

/// `value` times ten to the `power`; what falls off the end rounds up.
fn scale(value: i128, power: i32) -> Result<i128, QuantityError> {
    if value == 0 {
        return Ok(0);
    }
    match u32::try_from(power) {
        Ok(power) => {
            let factor = 10_i128.checked_pow(power).ok_or(QuantityError::TooLarge)?;
            value.checked_mul(factor).ok_or(QuantityError::TooLarge)
        }
        Err(_) => Ok(10_i128
            .checked_pow(power.unsigned_abs())
            .map_or(1, |divisor| {
                value / divisor + i128::from(value % divisor > 0)
            })),
    }
}
