use rstest::rstest;

use super::*;

fn granted(live: u32) -> usize {
    let budget = Arc::new(RetryBudget::default());
    std::iter::from_fn(|| budget.begin(live))
        .take(1_000)
        .collect::<Vec<_>>()
        .len()
}

#[rstest]
#[case::idle(0, 10)]
#[case::few(30, 10)]
#[case::many(100, 20)]
#[case::all_there_can_be(4_000, 800)]
fn a_share_of_the_live_attempts_may_be_repeated(#[case] live: u32, #[case] expected: usize) {
    assert_eq!(granted(live), expected);
}

#[test]
fn an_attempt_that_ended_makes_room() {
    let budget = Arc::new(RetryBudget::default());
    let mut under_way: Vec<_> = std::iter::from_fn(|| budget.begin(0)).take(11).collect();
    assert_eq!(under_way.len(), 10);

    under_way.pop();

    assert!(budget.begin(0).is_some());
}
