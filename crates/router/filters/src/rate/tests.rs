use rstest::rstest;

use super::*;

fn limits(input: u32, output: u32) -> Limits {
    Limits {
        input: NonZeroU32::new(input),
        output: NonZeroU32::new(output),
        unit: Duration::from_secs(1),
    }
}

fn one(name: &str, bucket: &str, limits: Limits) -> Assignment {
    Assignment {
        name: name.into(),
        bucket: bucket.into(),
        limits,
    }
}

fn table(assignments: impl IntoIterator<Item = Assignment>, now: Instant) -> RateTable {
    let table = RateTable::default();
    table.set(assignments, now);
    table
}

fn kind(result: Result<(), Exceeded>) -> Option<TokenKind> {
    result.err().map(|exceeded| exceeded.kind)
}

#[rstest]
#[case::nothing(None, None, RateLimitUnit::Second, None)]
#[case::refused_numbers(Some(0), Some(-1), RateLimitUnit::Second, None)]
#[case::input(Some(3), None, RateLimitUnit::Minute, Some((3, 0, 60)))]
#[case::output(None, Some(4), RateLimitUnit::Hour, Some((0, 4, 3600)))]
#[case::both(Some(3), Some(4), RateLimitUnit::Day, Some((3, 4, 86_400)))]
#[case::a_month_has_thirty_days(Some(3), None, RateLimitUnit::Month, Some((3, 0, 2_592_000)))]
fn what_a_route_asks_for(
    #[case] input: Option<i32>,
    #[case] output: Option<i32>,
    #[case] unit: RateLimitUnit,
    #[case] expected: Option<(u32, u32, u64)>,
) {
    let raw = RateLimit {
        input_tokens_per_unit: input,
        output_tokens_per_unit: output,
        unit,
        global: None,
    };
    let expected = expected.map(|(input, output, seconds)| Limits {
        unit: Duration::from_secs(seconds),
        ..limits(input, output)
    });
    assert_eq!(Limits::of(&raw), expected);
}

#[test]
fn a_prompt_takes_its_tokens_and_a_refused_one_none() {
    let now = Instant::now();
    let table = table([one("m", "m", limits(10, 0))], now);
    let limiter = table.limiter("m").unwrap();

    limiter.admit(6, now).unwrap();
    assert_eq!(
        limiter.admit(5, now),
        Err(Exceeded {
            kind: TokenKind::Input,
            wait: Some(Duration::from_millis(100))
        })
    );
    limiter.admit(4, now).unwrap();
    assert!(table.limiter("other").is_none());
}

#[test]
fn answers_are_charged_afterwards_and_hold_back_the_next_prompt() {
    let now = Instant::now();
    let table = table([one("m", "m", limits(10, 100))], now);
    let limiter = table.limiter("m").unwrap();
    limiter.admit(3, now).unwrap();
    limiter.charge(150, now);

    assert_eq!(kind(limiter.admit(3, now)), Some(TokenKind::Output));
    let later = now + Duration::from_millis(510);
    limiter.admit(10, later).unwrap();
    assert_eq!(
        kind(limiter.admit(10, later)),
        Some(TokenKind::Input),
        "a prompt that was refused for the output took nothing, and the input is named first"
    );
}

#[test]
fn a_limit_of_one_kind_does_not_hold_back_the_other() {
    let now = Instant::now();
    let table = table(
        [one("i", "i", limits(1, 0)), one("o", "o", limits(0, 1))],
        now,
    );
    table.limiter("i").unwrap().charge(1000, now);
    table.limiter("o").unwrap().admit(1000, now).unwrap();

    table.limiter("i").unwrap().admit(1, now).unwrap();
    table.limiter("o").unwrap().charge(1, now);
    assert_eq!(
        kind(table.limiter("o").unwrap().admit(0, now)),
        Some(TokenKind::Output)
    );
}

#[test]
fn an_adapter_is_limited_together_with_its_base() {
    let now = Instant::now();
    let table = table(
        [
            one("m", "m", limits(10, 0)),
            one("adapter", "m", limits(10, 0)),
            one("other", "other", limits(10, 0)),
        ],
        now,
    );
    table.limiter("adapter").unwrap().admit(10, now).unwrap();

    assert!(table.limiter("m").unwrap().admit(1, now).is_err());
    table.limiter("other").unwrap().admit(10, now).unwrap();
}

#[test]
fn edits_refill_nothing_and_what_is_removed_limits_nothing() {
    let now = Instant::now();
    let table = table([one("m", "m", limits(10, 10))], now);
    let held = table.limiter("m").unwrap();
    held.admit(10, now).unwrap();
    held.charge(10, now);

    table.set([one("m", "m", limits(10, 10))], now);
    assert!(table.limiter("m").unwrap().admit(1, now).is_err());
    table.set([one("m", "m", limits(100, 10))], now);
    assert_eq!(
        kind(table.limiter("m").unwrap().admit(1, now)),
        Some(TokenKind::Input),
        "a larger limit gives nothing at once"
    );
    table.set([one("m", "m", limits(0, 10))], now);
    assert_eq!(
        kind(table.limiter("m").unwrap().admit(1000, now)),
        Some(TokenKind::Output)
    );
    table.set([], now);
    assert!(table.limiter("m").is_none());
    held.charge(5, now);
    table.set([one("m", "m", limits(10, 10))], now);
    table.limiter("m").unwrap().admit(10, now).unwrap();
}

#[test]
fn many_threads_take_no_more_than_there_is() {
    let now = Instant::now();
    let table = table([one("m", "m", limits(1000, 0))], now);
    let admitted = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    if table.limiter("m").unwrap().admit(1, now).is_ok() {
                        admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1000);
}
