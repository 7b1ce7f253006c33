use proptest::prelude::*;
use rstest::rstest;

use super::{DurationError, GoDuration};

fn nanos(text: &str) -> i64 {
    text.parse::<GoDuration>()
        .unwrap_or_else(|error| panic!("{error}"))
        .as_nanos()
}

#[rstest]
#[case::zero("0", 0)]
#[case::zero_with_unit("0s", 0)]
#[case::seconds("15s", 15_000_000_000)]
#[case::fraction("1.5s", 1_500_000_000)]
#[case::bare_fraction(".5s", 500_000_000)]
#[case::trailing_point("1.s", 1_000_000_000)]
#[case::compound("1h30m", 5_400_000_000_000)]
#[case::canonical("1m0s", 60_000_000_000)]
#[case::negative("-1.5h", -5_400_000_000_000)]
#[case::plus("+5s", 5_000_000_000)]
#[case::micro_sign("1\u{b5}s", 1_000)]
#[case::greek_mu("1\u{3bc}s", 1_000)]
#[case::plain_micro("1us", 1_000)]
#[case::any_order("1s1h", 3_601_000_000_000)]
#[case::finer_than_nano("0.1ns", 0)]
#[case::smallest("-9223372036854775808ns", i64::MIN)]
fn a8_reads_go_durations(#[case] text: &str, #[case] expected: i64) {
    assert_eq!(nanos(text), expected);
}

#[rstest]
#[case::empty("", "invalid duration \"\"")]
#[case::sign_only("-", "invalid duration \"-\"")]
#[case::point_only(".s", "invalid duration \".s\"")]
#[case::no_unit("10", "missing unit in duration \"10\"")]
#[case::days("1d", "unknown unit \"d\" in duration \"1d\"")]
#[case::space("1 s", "unknown unit \" s\" in duration \"1 s\"")]
#[case::too_long("9223372036854775808ns", "invalid duration \"9223372036854775808ns\"")]
#[case::far_too_long(
    "99999999999999999999999h",
    "invalid duration \"99999999999999999999999h\""
)]
fn a8_refuses_other_texts(#[case] text: &str, #[case] expected: &str) {
    let error: DurationError = text.parse::<GoDuration>().expect_err("is refused");

    assert_eq!(error.to_string(), expected);
}

#[rstest]
#[case::minute("60s", "1m0s")]
#[case::five_minutes("300s", "5m0s")]
#[case::milliseconds("0.1s", "100ms")]
#[case::fraction("1500ms", "1.5s")]
#[case::zero("0h", "0s")]
#[case::hour("5400s", "1h30m0s")]
#[case::micro("1500ns", "1.5\u{b5}s")]
#[case::nano("1ns", "1ns")]
#[case::negative("-90s", "-1m30s")]
#[case::smallest("-9223372036854775808ns", "-2562047h47m16.854775808s")]
fn a8_prints_canonically(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(
        text.parse::<GoDuration>()
            .expect("is a duration")
            .to_string(),
        expected
    );
}

#[test]
fn a8_compares_by_value() {
    assert_eq!("60s".parse::<GoDuration>(), "1m0s".parse::<GoDuration>());
}

proptest! {
    #[test]
    fn printed_and_read_again_it_is_the_same(nanos in any::<i64>()) {
        let duration = GoDuration::from_nanos(nanos);
        prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
    }

    #[test]
    fn both_readers_agree(text in "[-+]?([0-9]{0,3}(\\.[0-9]{0,3})?(ns|us|ms|s|m|h|d)?){0,3}") {
        let read = text.parse::<GoDuration>().ok().map(GoDuration::as_nanos);
        prop_assert_eq!(read, kthena_schema::go::duration_nanos(&text));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = text.parse::<GoDuration>();
    }
}
