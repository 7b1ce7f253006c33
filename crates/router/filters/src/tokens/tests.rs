use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn tracker() -> TokenTracker {
    tracker_of(60, 1.0, 2.0)
}

fn tracker_of(window: u64, input_weight: f64, output_weight: f64) -> TokenTracker {
    TokenTracker::new(&FairnessConfig {
        window: Duration::from_secs(window),
        input_weight,
        output_weight,
        ..FairnessConfig::default()
    })
}

/// Whole weighted tokens.
fn tokens(tracker: &TokenTracker, user: &str, unix: u64) -> u128 {
    tracker.consumption(user, "llama", unix).micro_tokens / 1_000_000
}

#[test]
fn output_weighs_twice_by_default() {
    let mut tracker = TokenTracker::new(&FairnessConfig::default());
    tracker.record("ann", "llama", (100, 50), 1000).unwrap();
    let sum = tracker.consumption("ann", "llama", 1000);
    assert_eq!((sum.micro_tokens, sum.requests), (200_000_000, 1));
}

#[test]
fn a_weight_of_nothing_is_a_weight() {
    let mut tracker = tracker_of(60, 0.0, 0.5);
    tracker.record("ann", "llama", (100, 50), 1000).unwrap();
    assert_eq!(tokens(&tracker, "ann", 1000), 25);
}

#[test]
fn negative_counts_are_none_and_no_tokens_are_a_request() {
    let mut tracker = tracker();
    tracker.record("ann", "llama", (-5, -7), 1000).unwrap();
    tracker.record("ann", "llama", (0, 0), 1000).unwrap();
    let sum = tracker.consumption("ann", "llama", 1000);
    assert_eq!((sum.micro_tokens, sum.requests), (0, 2));
}

#[test]
fn empty_names_are_faults_and_read_as_nothing() {
    let mut tracker = tracker();
    assert_eq!(
        tracker.record("", "llama", (1, 1), 1000),
        Err(UsageFault::NoUser)
    );
    assert_eq!(
        tracker.record("ann", "", (1, 1), 1000),
        Err(UsageFault::NoModel)
    );
    assert_eq!(tracker.pairs(), 0);
    assert_eq!(tokens(&tracker, "", 1000), 0);
    assert_eq!(tokens(&tracker, "nobody", 1000), 0);
}

#[test]
fn one_second_is_one_bucket_and_the_window_slides_by_seconds() {
    let mut tracker = tracker();
    tracker.record("ann", "llama", (1, 0), 1000).unwrap();
    tracker.record("ann", "llama", (2, 0), 1000).unwrap();
    tracker.record("ann", "llama", (4, 0), 1001).unwrap();
    assert_eq!(tracker.pairs["llama"]["ann"].buckets.len(), 2);
    assert_eq!(tokens(&tracker, "ann", 1060), 7);
    assert_eq!(tokens(&tracker, "ann", 1061), 4);
    assert_eq!(tokens(&tracker, "ann", 1062), 0);
    // Reading needed no write, and changed nothing.
    assert_eq!(tokens(&tracker, "ann", 1060), 7);
}

#[test]
fn users_and_models_do_not_mix() {
    let mut tracker = tracker();
    for (user, model, input) in [("ann", "llama", 1), ("bob", "llama", 2), ("ann", "qwen", 4)] {
        tracker.record(user, model, (input, 0), 1000).unwrap();
    }
    let read = |user, model| tracker.consumption(user, model, 1000).micro_tokens / 1_000_000;
    assert_eq!(read("ann", "llama"), 1);
    assert_eq!(read("bob", "llama"), 2);
    assert_eq!(read("ann", "qwen"), 4);
    assert_eq!(read("bob", "qwen"), 0);
}

#[test]
fn idle_pairs_are_freed_after_a_window() {
    let mut tracker = tracker();
    for user in 0..500 {
        let name = format!("user-{user}");
        tracker.record(&name, "llama", (1, 1), 1000).unwrap();
    }
    assert_eq!(tracker.pairs(), 500);
    tracker.record("late", "llama", (1, 1), 1075).unwrap();
    assert_eq!(tracker.pairs(), 1);
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let mut tracker = tracker();
    tracker.record("ann", "llama", (1, 0), 1000).unwrap();
    tracker.record("ann", "llama", (2, 0), 900).unwrap();
    assert_eq!(tokens(&tracker, "ann", 1000), 3);
    assert_eq!(tokens(&tracker, "ann", 1061), 0);
}

#[test]
fn what_others_counted_is_added_for_a_window() {
    let mut tracker = tracker();
    let theirs = tracker.weigh(10, 0);
    tracker.set_elsewhere("ann", "llama", theirs, 1000);
    tracker.record("ann", "llama", (1, 0), 1010).unwrap();
    assert_eq!(tokens(&tracker, "ann", 1010), 11);
    assert_eq!(tokens(&tracker, "ann", 1061), 1);
    tracker.set_elsewhere("ann", "llama", Consumption::default(), 1062);
    assert_eq!(tokens(&tracker, "ann", 1062), 1);
    tracker.record("bob", "llama", (1, 0), 1200).unwrap();
    assert_eq!(tracker.pairs(), 1);
}

#[test]
fn what_others_counted_is_never_told_as_our_own_and_can_be_dropped() {
    let mut tracker = tracker();
    let theirs = tracker.weigh(10, 0);
    tracker.set_elsewhere("ann", "llama", theirs, 1000);
    assert_eq!(tracker.own(1000), []);
    let ours = tracker.record("ann", "llama", (1, 0), 1000).unwrap();
    assert_eq!(tracker.own(1000), [("llama".into(), "ann".into(), ours)]);
    assert_eq!(tracker.own(1061), []);
    tracker.clear_elsewhere();
    assert_eq!(tokens(&tracker, "ann", 1000), 1);
}

proptest! {
    #[test]
    fn sums_equal_those_over_a_list_of_everything(
        steps in proptest::collection::vec((0_u64..40, 0_i64..1_000_000, 0_i64..1_000_000), 1..300),
        weights in (0.0_f64..3.0, 0.0_f64..3.0),
    ) {
        let mut tracker = tracker_of(60, weights.0, weights.1);
        let mut unix = 5_000;
        let mut all = Vec::new();
        for (ahead, input, output) in steps {
            unix += ahead;
            let consumed = tracker.record("ann", "llama", (input, output), unix).unwrap();
            all.push((unix, consumed.micro_tokens));
            let expected: u128 = all.iter().filter(|(at, _)| *at >= unix - 60).map(|(_, micro)| micro).sum();
            prop_assert_eq!(tracker.consumption("ann", "llama", unix).micro_tokens, expected);
        }
        prop_assert!(tracker.pairs["llama"]["ann"].buckets.len() <= 62);
    }
}
