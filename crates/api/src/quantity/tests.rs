use std::cmp::Ordering;

use proptest::prelude::*;
use rstest::rstest;

use super::{Amount, QuantityError};

fn amount(text: &str) -> Amount {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[rstest]
#[case::plain("5", 5_000_000_000)]
#[case::signed("-5", -5_000_000_000)]
#[case::plus("+5", 5_000_000_000)]
#[case::fraction("0.5", 500_000_000)]
#[case::bare_fraction(".5", 500_000_000)]
#[case::trailing_point("5.", 5_000_000_000)]
#[case::milli("500m", 500_000_000)]
#[case::nano("1n", 1)]
#[case::finer_rounds_up("0.1n", 1)]
#[case::much_finer_rounds_up("1e-40", 1)]
#[case::kilo("2k", 2_000_000_000_000)]
#[case::binary("1Ki", 1_024_000_000_000)]
#[case::binary_fraction("1.5Gi", 1_610_612_736_000_000_000)]
#[case::exponent("1e3", 1_000_000_000_000)]
#[case::capital_exponent("1E+3", 1_000_000_000_000)]
#[case::exa_is_no_exponent("1E", 1_000_000_000_000_000_000_000_000_000)]
#[case::zeros("000.000", 0)]
fn reads(#[case] text: &str, #[case] nanos: i128) {
    assert_eq!(amount(text).as_nanos(), nanos);
}

#[rstest]
#[case::empty("", QuantityError::Malformed)]
#[case::sign_only("-", QuantityError::Malformed)]
#[case::point_only(".", QuantityError::Malformed)]
#[case::two_points("1.2.3", QuantityError::Malformed)]
#[case::unknown_suffix("1x", QuantityError::Malformed)]
#[case::space("1 k", QuantityError::Malformed)]
#[case::fractional_exponent("1e2.5", QuantityError::Malformed)]
#[case::empty_exponent("1e", QuantityError::Malformed)]
#[case::huge("1e400", QuantityError::TooLarge)]
#[case::long(
    "99999999999999999999999999999999999999999999",
    QuantityError::TooLarge
)]
fn refuses(#[case] text: &str, #[case] expected: QuantityError) {
    assert_eq!(text.parse::<Amount>(), Err(expected));
}

#[rstest]
#[case::half("0.5", "500m")]
#[case::whole("10.0", "10")]
#[case::thousand("1000", "1k")]
#[case::odd_thousand("1500", "1500")]
#[case::negative("-1.5", "-1500m")]
#[case::zero("0k", "0")]
#[case::binary("2048Ki", "2Mi")]
#[case::small_binary("0.5Ki", "512")]
#[case::exponent("1e3", "1e3")]
#[case::small_exponent("5e-1", "500e-3")]
fn prints_canonically(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(amount(text).to_string(), expected);
}

#[test]
fn compares_by_value() {
    assert_eq!(amount("1"), amount("1000m"));
    assert!(amount("1Gi") > amount("1G"));
    assert_eq!(amount("0.5").cmp_fraction(1, 2), Ordering::Equal);
    assert_eq!(amount("0.334").cmp_fraction(1, 3), Ordering::Greater);
    assert_eq!(amount("0.333").cmp_fraction(1, 3), Ordering::Less);
}

#[test]
fn rounds_up_to_whole_parts() {
    assert_eq!(amount("1.2").units_rounded_up(), Some(2));
    assert_eq!(amount("-1.2").units_rounded_up(), Some(-1));
    assert_eq!(amount("1u").millis_rounded_up(), Some(1));
}

proptest! {
    #[test]
    fn canonical_text_has_the_same_value(nanos in any::<i64>()) {
        let amount = Amount::from_nanos(i128::from(nanos));
        prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
    }

    #[test]
    fn sum_and_difference_agree(a in any::<i64>(), b in any::<i64>()) {
        let (a, b) = (Amount::from_units(a), Amount::from_units(b));
        prop_assert_eq!(a.checked_add(b).and_then(|sum| sum.checked_sub(b)), Some(a));
    }

    #[test]
    fn never_panics(text in "[-+0-9.eEinumkKMGTP]{0,50}|\\PC{0,12}") {
        if let Ok(amount) = text.parse::<Amount>() {
            let _ = (amount.to_string(), amount.units_rounded_up(), amount.checked_mul(i64::MAX), amount.cmp_fraction(1, 7));
        }
    }
}
