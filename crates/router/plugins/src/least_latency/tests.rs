use kthena_router_scheduler::Sample;
use proptest::prelude::{prop, prop_assert, proptest};
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, marks, sampled};

fn score(weight: f64, latencies: &[(f64, f64)]) -> Vec<i64> {
    let candidates = sampled(latencies.iter().map(|(ttft, tpot)| Sample {
        ttft: *ttft,
        tpot: *tpot,
        ..Sample::default()
    }));
    let scorer = LeastLatency::new(LeastLatencyConfig {
        ttft_weight: weight,
    });
    marks(&scorer, &candidates)
}

#[rstest]
#[case::one(0.5, &[(0.3, 0.02)], &[100])]
#[case::equal(0.5, &[(0.3, 0.02), (0.3, 0.02)], &[100, 100])]
#[case::both(0.5, &[(0.1, 0.01), (0.3, 0.03)], &[100, 0])]
#[case::only_the_first_token_differs(0.5, &[(0.1, 0.02), (0.3, 0.02), (0.2, 0.02)], &[100, 50, 75])]
#[case::only_the_others_differ(0.5, &[(0.1, 0.01), (0.1, 0.04), (0.1, 0.02)], &[100, 50, 83])]
#[case::first_token_alone(1.0, &[(0.1, 0.04), (0.3, 0.01)], &[100, 0])]
#[case::others_alone(0.0, &[(0.1, 0.04), (0.3, 0.01)], &[0, 100])]
#[case::weighted(0.25, &[(0.1, 0.04), (0.3, 0.01)], &[25, 75])]
#[case::unmeasured_does_not_count(0.5, &[(0.1, 0.01), (0.3, 0.03), (9.0, 0.0), (-1.0, 5.0)], &[100, 0, 50, 50])]
#[case::nobody_measured(0.5, &[(0.0, 0.0), (0.0, 0.0)], &[50, 50])]
fn scores(#[case] weight: f64, #[case] latencies: &[(f64, f64)], #[case] wanted: &[i64]) {
    assert_eq!(score(weight, latencies), wanted);
}

#[test]
fn who_was_never_measured_is_in_the_middle() {
    let scorer = LeastLatency::new(LeastLatencyConfig::default());
    assert_eq!(marks(&scorer, &candidates(2)), [50, 50]);
}

proptest! {
    #[test]
    fn marks_stay_in_range(
        weight in 0.0..=1.0,
        latencies in prop::collection::vec((-1.0..100.0, -1.0..10.0), 0..12),
    ) {
        let marks = score(weight, &latencies);
        prop_assert!(marks.iter().all(|mark| (0..=100).contains(mark)));
    }
}
