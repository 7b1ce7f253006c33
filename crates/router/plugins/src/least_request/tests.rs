use kthena_router_scheduler::{Candidate, Notes, Sample};
use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, kept, load, marks, sampled};

fn running(counts: &[u32]) -> Vec<Candidate> {
    sampled(counts.iter().map(|running| Sample {
        running: *running,
        ..Sample::default()
    }))
}

#[rstest]
#[case::spread(&[(0, 0), (10, 0), (5, 0)], &[100, 0, 50])]
#[case::truncated(&[(1, 0), (2, 0), (3, 0)], &[66, 33, 0])]
#[case::what_runs_counts_once(&[(5, 5), (5, 0), (0, 0)], &[99, 0, 100])]
#[case::more_runs_than_is_known_here(&[(1, 9), (2, 9)], &[50, 0])]
#[case::idle(&[(0, 0), (0, 0)], &[100, 100])]
#[case::one(&[(7, 0)], &[0])]
fn scores(#[case] loads: &[(u32, u32)], #[case] wanted: &[i64]) {
    let counts: Vec<u32> = loads.iter().map(|(_, running)| *running).collect();
    let candidates = running(&counts);
    let _guards: Vec<_> = candidates
        .iter()
        .zip(loads)
        .map(|(candidate, (on_flight, _))| load(candidate, *on_flight))
        .collect();

    assert_eq!(marks(&LeastRequest, &candidates), wanted);
}

#[test]
fn requests_of_other_routers_count() {
    let candidates = candidates(2);
    candidates[0].endpoint.set_elsewhere(10);
    let _guards = load(&candidates[1], 5);

    assert_eq!(marks(&LeastRequest, &candidates), [0, 50]);
}

#[test]
fn a_queue_as_long_as_the_limit_is_too_long() {
    let candidates = sampled([0, 9, 10, 11].map(|waiting| Sample {
        waiting,
        ..Sample::default()
    }));
    let filter = ShortQueue::new(LeastRequestConfig::default());
    let notes = Notes::default();

    let kept = kept(&filter, &RequestFacts::new("m", &notes), &candidates);

    assert_eq!(kept, [true, true, false, false]);
}

#[test]
fn an_engine_that_was_never_measured_stays() {
    let filter = ShortQueue::new(LeastRequestConfig {
        max_waiting: NonZeroU32::MIN,
    });
    let notes = Notes::default();
    let kept = kept(&filter, &RequestFacts::new("m", &notes), &candidates(1));
    assert_eq!(kept, [true]);
}

proptest! {
    #[test]
    fn marks_stay_in_range_and_ignore_order(loads in prop::collection::vec((0_u32..40, 0_u32..40), 1..12)) {
        let score = |loads: &[(u32, u32)]| {
            let counts: Vec<u32> = loads.iter().map(|(_, running)| *running).collect();
            let candidates = running(&counts);
            let _guards: Vec<_> = candidates
                .iter()
                .zip(loads)
                .map(|(candidate, (on_flight, _))| load(candidate, *on_flight))
                .collect();
            marks(&LeastRequest, &candidates)
        };
        let marks = score(&loads);
        prop_assert!(marks.iter().all(|mark| (0..=100).contains(mark)));
        let reversed: Vec<_> = loads.iter().rev().copied().collect();
        let mut back = score(&reversed);
        back.reverse();
        prop_assert_eq!(marks, back);
    }
}
