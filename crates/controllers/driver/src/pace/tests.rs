use std::time::Duration;

use kthena_cluster::ObjectKey;
use rstest::rstest;

use super::Pace;

fn pace(moving: usize) -> Pace {
    let mut pace = Pace::default();
    for number in 0..moving {
        pace.moving(&ObjectKey::new("ns", number.to_string()));
    }
    pace
}

#[rstest]
#[case::one_alone_is_told_of_often(1, 1, Some(2))]
#[case::and_at_once_if_the_last_time_is_long_ago(1, 3, None)]
#[case::a_hundred_share_the_writes(100, 5, Some(15))]
#[case::a_thousand_do_not_wait_for_ever(1000, 5, Some(25))]
fn waits_longer_the_more_objects_move(
    #[case] moving: usize,
    #[case] since: u64,
    #[case] expected: Option<u64>,
) {
    let patience = pace(moving).patience(Duration::from_secs(since));

    assert_eq!(patience, expected.map(Duration::from_secs));
}

#[test]
fn what_has_come_to_rest_does_not_count() {
    let mut pace = pace(100);
    for number in 0..99 {
        pace.settled(&ObjectKey::new("ns", number.to_string()));
    }

    assert_eq!(pace.patience(Duration::from_secs(3)), None);
}
