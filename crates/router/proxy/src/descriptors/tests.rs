use rstest::rstest;

use super::Threshold;

#[rstest]
#[case::usual(20_000, 19_488)]
#[case::small(256, 240)]
#[case::tiny(8, 0)]
#[case::unlimited(u64::MAX, u64::MAX - 512)]
fn clients_are_refused_while_some_are_left(#[case] limit: u64, #[case] threshold: u64) {
    assert_eq!(Threshold::under(limit), Threshold(threshold));
}

#[test]
fn the_number_of_a_descriptor_says_how_many_are_used() {
    let threshold = Threshold::under(256);

    assert!(!threshold.is_reached_by(239));
    assert!(threshold.is_reached_by(240));
    assert!(!threshold.is_reached_by(-1));
}
