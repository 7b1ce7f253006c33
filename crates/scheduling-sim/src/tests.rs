use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;

use crate::policy::{self, Policy};
use crate::report;
use crate::run::{FleetConfig, Row, run};
use crate::split::{self, Layout, LongPrompts};
use crate::trace::{self, TraceError};
use crate::workload::{GroupedPrompts, LONG, Workload, by_name};

fn fleet() -> FleetConfig {
    FleetConfig::published("a6000", "qwen2.5-7b").unwrap()
}

/// The published shape, an eighth of it, on caches that hold an eighth.
fn small(system: u32) -> Workload {
    GroupedPrompts {
        groups: 32,
        per_group: 12,
        system,
        concurrency: 60,
        output: 32,
        ..LONG
    }
    .workload("small", 1)
}

fn of(name: &str) -> Policy {
    let all = policy::all(128);
    all.into_iter().find(|policy| policy.name == name).unwrap()
}

fn result(name: &str, workload: &Workload) -> Row {
    run(&fleet(), &of(name), workload, 1, &mut |_| {})
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let workload = small(512);
    for policy in policy::all(128) {
        let runs = [1, 2].map(|_| run(&fleet(), &policy, &workload, 7, &mut |_| {}));
        assert_eq!(runs[0], runs[1], "{}", policy.name);
    }
}

#[test]
fn looking_at_caches_pays_with_long_prompts() {
    let workload = small(4096);
    let random = result("random", &workload);
    for name in [
        "least-request+kvcache-aware",
        "least-request+prefix-cache",
        "adaptive",
    ] {
        let aware = result(name, &workload);
        assert!(
            aware.cache_hit_ratio > random.cache_hit_ratio,
            "{aware:?} {random:?}"
        );
        assert!(
            aware.requests_per_second > random.requests_per_second,
            "{aware:?}"
        );
    }
}

#[rstest]
#[case::chats("chats")]
#[case::adapters("adapters")]
fn every_request_of_a_workload_is_answered(#[case] name: &str) {
    let mut workload = by_name(name, 3).unwrap();
    workload.sessions.truncate(60);
    let row = result("adaptive", &workload);
    assert!((row.success_rate - 1.0).abs() < 1e-9);
    assert!(row.cache_hit_ratio > 0.2, "{row:?}");
    assert!(row.ttft_seconds_mean < row.latency_seconds_mean);
}

#[test]
fn a_conversation_finds_its_own_past() {
    let mut workload = by_name("chats", 3).unwrap();
    workload.sessions.truncate(1);
    workload.sessions[0].turns.truncate(3);
    let row = result("least-request+kvcache-aware", &workload);
    // All but the newest words and the ends of blocks.
    assert!(row.cache_hit_ratio > 0.4, "{row:?}");
}

#[test]
fn requests_that_cannot_fit_fail_and_the_rest_goes_on() {
    let mut workload = small(512);
    workload.sessions[0].turns[0].own = 40_000;
    let row = result("random", &workload);
    let failed = (1.0 - row.success_rate) * workload.requests() as f64;
    assert!((failed - 1.0).abs() < 1e-6, "{row:?}");
}

#[test]
fn prompts_apart_from_answers_steady_the_tokens() {
    let load = LongPrompts {
        requests: 120,
        rate: 2.0,
        prompt: 4000,
        output: 100,
    };
    let fleet = FleetConfig {
        engines: 4,
        ..fleet()
    };
    let runs = [Layout::Whole, Layout::Apart { prefill: 2 }]
        .map(|layout| split::run(&fleet, &of("least-request"), layout, load, 11e9, 1));
    assert!(runs.iter().all(|run| run.answered == 120), "{runs:?}");
    assert!(runs[1].token_p99 < runs[0].token_p99, "{runs:?}");
}

#[test]
fn a_log_is_replayed_when_it_came() {
    let log = r#"
{"timestamp":"12","input_tokens":50,"output_tokens":5}
{"timestamp":"10","input_tokens":70,"output_tokens":9,"other":1}
{"timestamp":"11","status":404}
not json
"#;
    let workload = trace::read(log, |text| text.parse().ok()).unwrap();
    let starts: Vec<_> = workload
        .sessions
        .iter()
        .map(|session| session.start)
        .collect();
    assert_eq!(starts, [Duration::ZERO, Duration::from_secs(2)]);
    assert_eq!(workload.sessions[0].turns[0].own, 70);
    let row = result("least-request", &workload);
    assert!((row.success_rate - 1.0).abs() < 1e-9);
    assert_eq!(trace::read("{}", |_| None), Err(TraceError::Empty));
}

#[test]
fn reports_name_every_policy_and_figure() {
    let row = |policy: &str, seed, requests_per_second| Row {
        workload: "long".to_owned(),
        policy: policy.to_owned(),
        seed,
        requests_per_second,
        ttft_seconds_mean: 1.0,
        latency_seconds_mean: 2.0,
        success_rate: 1.0,
        cache_hit_ratio: 0.5,
    };
    let rows = [
        row("random", 1, 10.0),
        row("random", 2, 14.0),
        row("adaptive", 1, 30.0),
    ];
    let about = BTreeMap::from([("long".to_owned(), "Long prompts".to_owned())]);
    let page = report::markdown(&rows, &about, "Three engines.");
    assert!(page.contains("| random | 12.00 ± 2.00 | 1.00 |"), "{page}");
    assert!(
        page.contains("| adaptive | 30.00 ± 0.00 | 2.50 |"),
        "{page}"
    );
    let json: serde_json::Value = serde_json::from_str(&report::json(&rows).unwrap()).unwrap();
    let members = [
        "workload",
        "policy",
        "seed",
        "requests_per_second",
        "ttft_seconds_mean",
        "latency_seconds_mean",
        "success_rate",
        "cache_hit_ratio",
    ];
    let first = json[0].as_object().unwrap();
    assert!(members.iter().all(|name| first.contains_key(*name)));
    assert_eq!(first.len(), members.len());
    let summaries = report::summaries(&rows);
    let bars: Vec<_> = summaries[0]
        .1
        .iter()
        .map(|s| (s.policy.as_str(), s.throughput))
        .collect();
    let plot = report::bars("Requests <s>", "req/s", &bars);
    assert!(plot.starts_with("<svg") && plot.contains("30.00 req/s") && plot.contains("&lt;s&gt;"));
}
