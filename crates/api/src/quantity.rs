//! Kubernetes quantities: `500m`, `2Gi`, `1e3`.
//!
//! [`Quantity`] is the text as stored; [`Amount`] is its exact value in billionths, without floats. Finer digits are
//! rounded away from zero, as Kubernetes does. How a text is read is in the schema crate, whose rules compute with
//! quantities too.

use std::fmt;
use std::str::FromStr;

pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kthena_schema::quantity::Form;
pub use kthena_schema::quantity::QuantityError;

#[cfg(test)]
mod tests;

const NANO: i128 = 1_000_000_000;

/// An exact amount with a resolution of 1e-9. Equal and ordered by value, whatever the spelling was.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    nanos: i128,
    form: Form,
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
        let (nanos, form) = kthena_schema::quantity::parse(text)?;
        Ok(Self { nanos, form })
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
