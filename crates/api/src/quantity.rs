//! Kubernetes quantities: `500m`, `2Gi`, `1e3`.
//!
//! [`Quantity`] is the text as stored; [`Amount`] is its exact value in billionths, without floats. Finer digits are
//! rounded away from zero, as Kubernetes does.

use std::fmt;
use std::str::FromStr;

pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

#[cfg(test)]
mod tests;

const NANO: i128 = 1_000_000_000;

/// An exact amount with a resolution of 1e-9. Equal and ordered by value, whatever the spelling was.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    nanos: i128,
    form: Form,
}

/// The family of suffixes an amount was written with; it prints in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
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

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        form: Form::Decimal,
    };

    /// A whole amount.
    pub fn from_units(units: i64) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            form: Form::Decimal,
        }
    }

    /// An amount in billionths.
    pub const fn from_nanos(nanos: i128) -> Self {
        Self {
            nanos,
            form: Form::Decimal,
        }
    }

    /// Billionths.
    pub const fn as_nanos(self) -> i128 {
        self.nanos
    }

    /// Whole units, rounded up; `None` if that does not fit.
    pub fn units_rounded_up(self) -> Option<i64> {
        i64::try_from(div_ceil(self.nanos, NANO)).ok()
    }

    /// Thousandths, rounded up; `None` if that does not fit.
    pub fn millis_rounded_up(self) -> Option<i64> {
        i64::try_from(div_ceil(self.nanos, NANO / 1000)).ok()
    }

    /// The sum; `None` if it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            nanos: self.nanos.checked_add(other.nanos)?,
            ..self
        })
    }

    /// The difference; `None` if it does not fit.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self {
            nanos: self.nanos.checked_sub(other.nanos)?,
            ..self
        })
    }

    /// This many times the amount; `None` if it does not fit.
    pub fn checked_mul(self, factor: i64) -> Option<Self> {
        Some(Self {
            nanos: self.nanos.checked_mul(i128::from(factor))?,
            ..self
        })
    }

    /// Compares with the fraction `numerator / denominator`; the denominator must be positive.
    pub fn cmp_fraction(self, numerator: i64, denominator: i64) -> std::cmp::Ordering {
        let scaled = i128::from(numerator) * NANO;
        match self.nanos.checked_mul(i128::from(denominator)) {
            Some(product) => product.cmp(&scaled),
            // Too large to be multiplied is larger, or smaller, than any such fraction.
            None => self.nanos.cmp(&0),
        }
    }

    /// True for less than nothing.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// True for more than nothing.
    pub const fn is_positive(self) -> bool {
        self.nanos > 0
    }
}

/// Rounded up: towards positive infinity.
fn div_ceil(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl TryFrom<&Quantity> for Amount {
    type Error = QuantityError;

    fn try_from(quantity: &Quantity) -> Result<Self, Self::Error> {
        quantity.0.parse()
    }
}

impl FromStr for Amount {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
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
        let places = i32::try_from(fraction.trim_end_matches('0').len())
            .map_err(|_| QuantityError::TooLarge)?;
        let magnitude = match power {
            Power::Ten(power) => scale(mantissa, power.saturating_add(9).saturating_sub(places)),
            Power::Two(power) => mantissa
                .checked_mul(1 << power)
                .ok_or(QuantityError::TooLarge)
                .and_then(|value| scale(value, 9 - places)),
        }?;
        Ok(Self {
            nanos: if negative { -magnitude } else { magnitude },
            form,
        })
    }
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
            .map_or(1, |divisor| div_ceil(value, divisor))),
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Amount {
    /// The canonical form: no fraction, the largest suffix that keeps the number whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let large = self.nanos.unsigned_abs() >= 1024 * NANO.unsigned_abs();
        if self.form == Form::Binary && large {
            let (mut units, mut step) = (div_ceil(self.nanos, NANO), 0);
            while units % 1024 == 0 && step + 1 < BINARY.len() {
                units /= 1024;
                step += 1;
            }
            return write!(f, "{units}{}", BINARY[step]);
        }
        let (mut value, mut step) = (self.nanos, 0);
        while value % 1000 == 0 && step + 1 < DECIMAL.len() {
            value /= 1000;
            step += 1;
        }
        match (self.form, step) {
            (Form::Exponent, 3) => write!(f, "{value}"),
            (Form::Exponent, step) => {
                write!(f, "{value}e{}", 3 * i64::try_from(step).unwrap_or(3) - 9)
            }
            _ => write!(f, "{value}{}", DECIMAL[step]),
        }
    }
}
