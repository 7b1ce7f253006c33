use rstest::rstest;

use super::*;

fn deal(faults: Faults, count: usize) -> Vec<Fate> {
    let mut dealer = FaultDealer::new(faults);
    (0..count).map(|_| dealer.deal()).collect()
}

#[test]
fn nothing_goes_wrong_by_default() {
    assert!(
        deal(Faults::default(), 10)
            .iter()
            .all(|fate| *fate == Fate::default())
    );
}

#[rstest]
#[case::a_quarter(0.25, 25)]
#[case::a_tenth(0.1, 10)]
#[case::all(1.0, 100)]
#[case::none(0.0, 0)]
fn rates_are_met_evenly(#[case] error_rate: f64, #[case] expected: usize) {
    let fates = deal(
        Faults {
            error_rate,
            error_status: 503,
            ..Faults::default()
        },
        100,
    );
    let hit = fates
        .iter()
        .filter(|fate| fate.verdict == Verdict::Refuse(503));
    assert_eq!(hit.count(), expected);
}

#[test]
fn streams_break_where_they_are_told_to() {
    let fates = deal(
        Faults {
            reset_rate: 0.5,
            after_chunks: 3,
            ..Faults::default()
        },
        4,
    );
    let streams: Vec<StreamFate> = fates.iter().map(|fate| fate.stream).collect();
    assert_eq!(
        streams,
        [
            StreamFate::Whole,
            StreamFate::Reset(3),
            StreamFate::Whole,
            StreamFate::Reset(3)
        ]
    );
}

#[rstest]
#[case::fine(r#"{"delay_ms":5}"#, None)]
#[case::rate_above_one(r#"{"error_rate":1.5}"#, Some("error_rate"))]
#[case::not_an_error(r#"{"error_status":200}"#, Some("error_status"))]
fn senseless_values_are_named(#[case] json: &str, #[case] expected: Option<&str>) {
    assert_eq!(
        serde_json::from_str::<Faults>(json).unwrap().fault(),
        expected
    );
}

#[test]
fn misspelt_members_are_refused() {
    assert!(serde_json::from_str::<Faults>(r#"{"error_ratio":1}"#).is_err());
}
