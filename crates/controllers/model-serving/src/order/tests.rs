use std::collections::BTreeMap;

use rstest::rstest;

use super::{Rank, vacancies, victims};

const RUNNING: Rank = Rank {
    is_running: true,
    is_leaving: false,
    cost: 0,
};
const CREATING: Rank = Rank {
    is_running: false,
    is_leaving: false,
    cost: 0,
};
const LEAVING: Rank = Rank {
    is_running: false,
    is_leaving: true,
    cost: 0,
};

fn cost(cost: i64) -> Rank {
    Rank { cost, ..RUNNING }
}

fn at(ordinals: &[i32]) -> BTreeMap<i32, Rank> {
    ordinals.iter().map(|ordinal| (*ordinal, RUNNING)).collect()
}

fn from(ranks: &[Rank]) -> BTreeMap<i32, Rank> {
    (0..).zip(ranks.iter().copied()).collect()
}

#[rstest]
#[case::no_costs(at(&[0, 1, 2, 3]), 2, 0, &[0, 1])]
#[case::gaps(at(&[0, 2, 5, 8]), 2, 0, &[0, 2])]
#[case::not_running_first(from(&[RUNNING, RUNNING, CREATING, RUNNING]), 2, 0, &[0, 1])]
#[case::lowest_cost_first(from(&[cost(100), cost(50), cost(0), cost(75)]), 2, 0, &[0, 3])]
#[case::not_running_beats_cost(
    from(&[cost(10), Rank { cost: 1000, ..CREATING }, cost(20), cost(30)]), 2, 0, &[2, 3])]
#[case::negative_cost(from(&[cost(100), cost(-100), cost(50), cost(75)]), 2, 0, &[0, 3])]
#[case::protection_beats_cost(
    from(&[cost(0), cost(1), cost(2), cost(100), cost(100)]), 3, 3, &[0, 1, 2])]
#[case::all_protected(from(&[cost(100), cost(50), cost(0), cost(200)]), 2, 5, &[0, 3])]
#[case::protected_go_only_if_needed(
    from(&[cost(100), cost(50), cost(0), cost(200), cost(150)]), 2, 3, &[0, 1])]
#[case::protection_beats_status(
    from(&[CREATING, RUNNING, RUNNING]), 1, 1, &[0])]
fn r36_r37_what_remains_after_scaling_down(
    #[case] records: BTreeMap<i32, Rank>,
    #[case] wanted: usize,
    #[case] protected: usize,
    #[case] remaining: &[i32],
) {
    let gone = victims(&records, records.len() - wanted, protected);
    let left: Vec<_> = records
        .keys()
        .copied()
        .filter(|ordinal| !gone.contains(ordinal))
        .collect();
    assert_eq!(left, remaining);
}

#[rstest]
#[case::chosen_already(from(&[RUNNING, LEAVING, RUNNING]), 1, &[1])]
#[case::chosen_already_though_it_costs_more(
    from(&[CREATING, Rank { cost: 1000, ..LEAVING }, RUNNING]), 1, &[1])]
#[case::one_more(from(&[RUNNING, LEAVING, RUNNING]), 2, &[1, 2])]
fn r38_a_second_pass_deletes_no_more(
    #[case] records: BTreeMap<i32, Rank>,
    #[case] surplus: usize,
    #[case] expected: &[i32],
) {
    assert_eq!(victims(&records, surplus, 0), expected);
}

#[rstest]
#[case::after_the_last(&[0], 3, &[1, 2])]
#[case::gap_only_as_many_as_missing(&[0, 5], 4, &[1, 2])]
#[case::all_below_a_high_one(&[10], 3, &[0, 1])]
#[case::gap(&[0, 2, 3], 4, &[1])]
#[case::enough(&[0, 1], 2, &[])]
#[case::too_many(&[0, 1, 2], 2, &[])]
fn r34_creates_at_the_lowest_gaps(
    #[case] existing: &[i32],
    #[case] wanted: i32,
    #[case] expected: &[i32],
) {
    assert_eq!(
        vacancies(&at(existing), wanted).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn r34_memory_does_not_depend_on_the_count_wanted() {
    let records = at(&[0, 1]);
    assert_eq!(
        vacancies(&records, i32::MAX).take(2).collect::<Vec<_>>(),
        [2, 3]
    );
}
