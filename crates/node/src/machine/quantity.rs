//! Kubernetes quantities in the units that a node counts in. How they are read is the `api` crate's affair.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kthena_api::quantity::Amount;

/// A quantity in billionths; `None` for a text that is not a quantity.
pub fn nano(quantity: &Quantity) -> Option<i128> {
    amount(quantity).map(Amount::as_nanos)
}

/// Whole units, rounded up.
pub fn units(quantity: &Quantity) -> Option<i64> {
    amount(quantity)?.units_rounded_up()
}

/// Thousandths, rounded up.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    amount(quantity)?.millis_rounded_up()
}

fn amount(quantity: &Quantity) -> Option<Amount> {
    Amount::try_from(quantity).ok()
}

/// `value / divisor` rounded up, both in billionths.
pub fn divide_up(value: i128, divisor: i128) -> i128 {
    if divisor <= 0 {
        value
    } else {
        value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) > 0)
    }
}
