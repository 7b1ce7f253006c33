use kthena_router_scheduler::Sample;
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, marks, sampled};

#[rstest]
#[case::empty(0.0, 100)]
#[case::half(0.5, 50)]
#[case::full(1.0, 0)]
#[case::truncated(0.126, 87)]
#[case::beyond(1.5, 0)]
#[case::below(-0.5, 100)]
#[case::not_a_number(f64::NAN, 0)]
fn scores(#[case] kv_usage: f64, #[case] wanted: i64) {
    let candidates = sampled([Sample {
        kv_usage,
        ..Sample::default()
    }]);
    assert_eq!(marks(&GpuUsage, &candidates), [wanted]);
}

#[test]
fn who_was_never_measured_is_empty() {
    assert_eq!(marks(&GpuUsage, &candidates(1)), [100]);
}
