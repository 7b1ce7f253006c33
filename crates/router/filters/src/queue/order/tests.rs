use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn plain(arrival: u64) -> Place {
    Place {
        boost: Boost::None,
        arrival,
    }
}

fn drain(order: &mut Order) -> Vec<u64> {
    std::iter::from_fn(|| order.pop())
        .map(|(_, place)| place.arrival)
        .collect()
}

fn order(waiting: &[(&str, f64)]) -> Order {
    let mut order = Order::default();
    for (arrival, (user, priority)) in (1..).zip(waiting) {
        order.push(&Arc::from(*user), plain(arrival), Priority(*priority), 0.0);
    }
    order
}

#[test]
fn a_users_own_requests_keep_their_order() {
    // The last priority that was heard of counts for the whole line.
    assert_eq!(
        drain(&mut order(&[("ann", 9.0), ("ann", 1.0), ("ann", 5.0)])),
        [1, 2, 3]
    );
}

#[test]
fn who_had_less_goes_first_and_equals_by_arrival() {
    let waiting = [("ann", 5.0), ("bob", 1.0), ("eve", 5.0), ("bob", 1.0)];
    assert_eq!(drain(&mut order(&waiting)), [2, 4, 1, 3]);
}

#[test]
fn the_order_that_is_no_order_pair_by_pair_is_one_here() {
    // By pairs: 1 before 3 (same user), 3 before 2 (less), 2 before 1 (less). A line is ranked as one.
    let waiting = [("ann", 9.0), ("bob", 5.0), ("ann", 1.0)];
    assert_eq!(drain(&mut order(&waiting)), [1, 3, 2]);
}

#[test]
fn the_unknown_stay_last_whatever_others_had() {
    let mut order = order(&[("", LAST.0), ("ann", 1e300)]);
    order.set_priority("ann", Priority(f64::MAX.next_down()));
    assert_eq!(drain(&mut order), [2, 1]);
}

#[test]
fn a_new_priority_moves_the_whole_line() {
    let mut order = order(&[("ann", 1.0), ("bob", 2.0), ("ann", 1.0)]);
    assert!(order.set_priority("ann", Priority(3.0)));
    assert!(
        !order.set_priority("ann", Priority(4.0)),
        "nobody is overtaken"
    );
    assert!(!order.set_priority("eve", Priority(0.0)), "does not wait");
    assert_eq!(drain(&mut order), [2, 1, 3]);
}

#[test]
fn what_a_request_costs_counts_while_it_is_at_the_head() {
    let mut order = Order::default();
    let (ann, bob) = (Arc::from("ann"), Arc::from("bob"));
    order.push(&ann, plain(1), Priority(0.0), 10.0);
    order.push(&ann, plain(2), Priority(0.0), 1.0);
    order.push(&bob, plain(3), Priority(5.0), 0.0);
    assert_eq!(drain(&mut order), [3, 1, 2]);
    order.push(&ann, plain(4), LAST, 10.0);
    order.push(&bob, plain(5), Priority(0.0), f64::MAX);
    assert_eq!(
        drain(&mut order),
        [5, 4],
        "no cost brings anybody behind the unknown"
    );
}

#[test]
fn recent_sessions_go_first_and_the_latest_of_them_before_others() {
    let start = Instant::now();
    let recent = |seconds: u64, arrival| Place {
        boost: Boost::Recent(Reverse(start + Duration::from_secs(seconds))),
        arrival,
    };
    let mut order = Order::default();
    let all = Arc::from("");
    for place in [plain(1), recent(1, 2), recent(9, 3), recent(9, 4), plain(5)] {
        order.push(&all, place, Priority(0.0), 0.0);
    }
    assert_eq!(drain(&mut order), [3, 4, 2, 1, 5]);
}

#[test]
fn who_left_is_not_taken() {
    let mut order = order(&[("ann", 1.0), ("ann", 1.0), ("bob", 2.0)]);
    order.remove(&Arc::from("ann"), plain(1));
    order.remove(&Arc::from("eve"), plain(9));
    assert_eq!(drain(&mut order), [2, 3]);
    assert!(order.is_empty() && order.lines.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize, f64),
    Leave(usize),
    Reprioritize(usize, f64),
    Pop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = (0_u8..6).prop_map(f64::from);
    let step = prop_oneof![
        4 => (0_usize..4, priority.clone()).prop_map(|(user, priority)| Step::Push(user, priority)),
        1 => (0_usize..50).prop_map(Step::Leave),
        2 => (0_usize..4, priority).prop_map(|(user, priority)| Step::Reprioritize(user, priority)),
        2 => Just(Step::Pop),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// Against the plainest way to say it: the first of the user who has had least.
    #[test]
    fn agrees_with_a_list(steps in steps()) {
        let users: [Arc<str>; 4] = ["", "ann", "bob", "eve"].map(Arc::from);
        let mut order = Order::default();
        let mut list: Vec<(usize, u64)> = Vec::new();
        let mut had = [f64::MAX, 0.0, 0.0, 0.0];
        for (arrival, step) in (0..).zip(steps) {
            match step {
                Step::Push(user, priority) => {
                    had[user] = if user == 0 { f64::MAX } else { priority };
                    order.push(&users[user], plain(arrival), Priority(had[user]), 0.0);
                    list.push((user, arrival));
                }
                Step::Leave(at) if !list.is_empty() => {
                    let (user, arrival) = list.remove(at % list.len());
                    order.remove(&users[user], plain(arrival));
                }
                Step::Reprioritize(user, priority) if user > 0 => {
                    if list.iter().any(|(waiting, _)| *waiting == user) {
                        had[user] = priority;
                    }
                    order.set_priority(&users[user], Priority(priority));
                }
                Step::Pop => {
                    let heads = (0..4).filter_map(|user| list.iter().find(|(waiting, _)| *waiting == user));
                    let best = heads.min_by(|a, b| had[a.0].total_cmp(&had[b.0]).then(a.1.cmp(&b.1))).copied();
                    let popped = order.pop().map(|(user, place)| (user, place.arrival));
                    prop_assert_eq!(popped, best.map(|(user, arrival)| (Arc::clone(&users[user]), arrival)));
                    list.retain(|waiting| Some(*waiting) != best);
                }
                Step::Leave(_) | Step::Reprioritize(..) => {}
            }
            prop_assert_eq!(order.is_empty(), list.is_empty());
            prop_assert_eq!(order.ranked.len(), order.lines.len());
        }
    }
}
