use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn after(start: Instant, millis: u64) -> Instant {
    start + Duration::from_millis(millis)
}

#[test]
fn a_full_bucket_gives_what_it_holds_and_fills_evenly() {
    let start = Instant::now();
    let mut bucket = Bucket::full(10, SECOND, start);
    for _ in 0..3 {
        bucket.check(3, start).unwrap();
        bucket.take(3, start);
    }

    let short = bucket.check(3, start).unwrap_err();
    assert_eq!(short.wait, Some(Duration::from_millis(200)));
    assert!(bucket.check(3, after(start, 199)).is_err());
    assert!(bucket.check(3, after(start, 200)).is_ok());
    assert!(
        bucket.check(10, after(start, 5000)).is_ok(),
        "it is full again"
    );
    assert!(bucket.check(11, after(start, 5000)).is_err(), "and no more");
}

#[rstest]
#[case::more_than_it_can_hold(11)]
#[case::more_than_fits(u64::MAX)]
fn what_can_never_be_had_has_no_wait(#[case] tokens: u64) {
    let start = Instant::now();
    let bucket = Bucket::full(10, SECOND, start);

    assert_eq!(bucket.check(tokens, start), Err(Short { wait: None }));
}

#[test]
fn nothing_can_be_had_of_an_empty_bucket_too() {
    let start = Instant::now();
    let mut bucket = Bucket::full(10, SECOND, start);
    bucket.take(20, start);

    assert_eq!(bucket.check(0, start), Ok(()));
}

#[test]
fn debt_is_bounded_and_paid_back_by_time() {
    let start = Instant::now();
    let mut bucket = Bucket::full(10, SECOND, start);

    bucket.take(1_000_000, start);

    let short = bucket.check(1, start).unwrap_err();
    assert_eq!(short.wait, Some(Duration::from_millis(1100)));
    assert!(bucket.check(1, after(start, 1100)).is_ok());
}

#[test]
fn another_limit_gives_nothing_back() {
    let start = Instant::now();
    let mut bucket = Bucket::full(10, SECOND, start);
    bucket.take(8, start);

    let larger = bucket.resized(100, SECOND, start);
    assert!(larger.check(2, start).is_ok() && larger.check(3, start).is_err());
    let smaller = bucket.resized(1, SECOND, start);
    assert!(smaller.check(1, start).is_ok());
    let slower = bucket.resized(10, Duration::from_mins(1), start);
    assert_eq!(
        slower.check(3, start),
        Err(Short {
            wait: Some(Duration::from_secs(6))
        })
    );
}

#[test]
fn a_clock_that_seems_to_go_back_changes_nothing() {
    let earlier = Instant::now();
    let start = earlier + SECOND;
    let mut bucket = Bucket::full(10, SECOND, start);
    bucket.take(10, start);

    bucket.take(0, earlier);

    assert!(bucket.check(1, start).is_err());
}

proptest! {
    #[test]
    fn no_more_is_had_than_was_there_and_came(
        capacity in 1_u32..1000,
        steps in prop::collection::vec((0_u64..1200, 0_u64..2000), 1..60),
    ) {
        let start = Instant::now();
        let mut bucket = Bucket::full(capacity, SECOND, start);
        let (mut now, mut had) = (start, 0);
        for (wanted, millis) in steps {
            now = after(now, millis);
            if bucket.check(wanted, now).is_ok() {
                bucket.take(wanted, now);
                had += wanted;
            } else if let Err(Short { wait: Some(wait) }) = bucket.check(wanted, now) {
                let then = now + wait + Duration::from_micros(1);
                prop_assert_eq!(bucket.check(wanted, then), Ok(()));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
        let had = had as f64;
        let came = f64::from(capacity) * (1.0 + (now - start).as_secs_f64());
        prop_assert!(had <= came + 1e-3, "{had} of {came}");
    }
}
