use super::*;

use ScorerName::{Adaptive, GpuUsage, KvcacheAware, LeastRequest, PrefixCache, Random};

/// Prompts that are mostly shared, of more groups than one cache has room for.
const LONG: Workload = Workload {
    groups: 64,
    per_group: 10,
    shared: 2048,
    own: 128,
    output: 48,
    concurrency: 60,
    cache_blocks: 4000,
};
/// Prompts that are mostly their own.
const SHORT: Workload = Workload {
    shared: 128,
    own: 1024,
    ..LONG
};
/// Few requests at a time.
const CALM: Workload = Workload {
    concurrency: 6,
    ..LONG
};
/// All prompts begin alike.
const HOT: Workload = Workload {
    groups: 1,
    per_group: 600,
    ..LONG
};

/// The mean over two seeds.
fn mean(scorers: &[ScorerName], load: &Workload) -> Result {
    let [one, other] = [1, 2].map(|seed| run(config(&[], scorers), load, seed));
    let result = Result {
        requests_per_second: f64::midpoint(one.requests_per_second, other.requests_per_second),
        first_token: f64::midpoint(one.first_token, other.first_token),
        cached_share: f64::midpoint(one.cached_share, other.cached_share),
        error: f64::midpoint(one.error, other.error),
    };
    eprintln!("{scorers:?} {result:.3?}");
    result
}

/// That `adaptive` does as well as `other`, but for noise: in throughput, and in time to the first token.
fn as_good(adaptive: &Result, other: &Result, throughput: f64, first_token: f64) {
    let (own, its) = (adaptive.requests_per_second, other.requests_per_second);
    assert!(own >= its * throughput, "{adaptive:?} against {other:?}");
    let (own, its) = (adaptive.first_token, other.first_token);
    assert!(own <= its * first_token, "{adaptive:?} against {other:?}");
}

#[test]
fn shared_prefixes_are_kept_together() {
    let adaptive = mean(&[Adaptive], &LONG);
    for blind in [Random, LeastRequest, GpuUsage] {
        as_good(&adaptive, &mean(&[blind], &LONG), 1.3, 0.8);
    }
    as_good(
        &adaptive,
        &mean(&[LeastRequest, PrefixCache], &LONG),
        0.97,
        1.05,
    );
    as_good(
        &adaptive,
        &mean(&[LeastRequest, KvcacheAware], &LONG),
        0.97,
        1.05,
    );
}

#[test]
fn work_without_common_prefixes_is_balanced() {
    let adaptive = mean(&[Adaptive], &SHORT);
    for scorers in [
        &[Random][..],
        &[LeastRequest],
        &[GpuUsage],
        &[LeastRequest, PrefixCache],
        &[LeastRequest, KvcacheAware],
    ] {
        as_good(&adaptive, &mean(scorers, &SHORT), 0.97, 1.05);
    }
}

#[test]
fn few_requests_find_their_prefixes_too() {
    let adaptive = mean(&[Adaptive], &CALM);
    as_good(&adaptive, &mean(&[Random], &CALM), 1.1, 0.7);
    as_good(
        &adaptive,
        &mean(&[LeastRequest, PrefixCache], &CALM),
        0.97,
        1.05,
    );
}

#[test]
fn one_prefix_does_not_pile_up_on_one_engine() {
    let adaptive = mean(&[Adaptive], &HOT);
    as_good(
        &adaptive,
        &mean(&[LeastRequest, PrefixCache], &HOT),
        0.97,
        1.05,
    );
    as_good(&adaptive, &mean(&[Random], &HOT), 0.97, 1.5);
}

#[test]
fn estimates_are_of_the_right_size() {
    assert!(mean(&[Adaptive], &LONG).error < 0.8);
    assert!(mean(&[Adaptive], &SHORT).error < 0.5);
}
