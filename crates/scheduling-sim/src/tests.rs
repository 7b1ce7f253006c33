use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use kthena_router_observability::{LogFormat, Record, Usage, write_line};

use rstest::rstest;

use crate::policy::{self, Policy};
use crate::report;
use crate::run::{Row, run};
use crate::setting::{FleetConfig, Knowledge};
use crate::split::{self, Layout, LongPrompts};
use crate::trace::{self, TraceError};
use crate::workload::{GroupedPrompts, LONG, Scale, Workload, by_name};

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
    run(&fleet(), &of(name), workload, 1, &mut |_| {}).row
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
#[case::mixed("mixed")]
fn every_request_of_a_workload_is_answered(#[case] name: &str) {
    let mut workload = by_name(name, 3, Scale::PUBLISHED, Instant::now()).unwrap();
    workload.sessions.truncate(60);
    let row = result("adaptive", &workload);
    assert!((row.success_rate - 1.0).abs() < 1e-9);
    assert!(row.cache_hit_ratio > 0.02, "{row:?}");
    assert!(row.ttft_seconds_mean < row.latency_seconds_mean);
}

#[test]
fn a_conversation_finds_its_own_past() {
    let mut workload = by_name("chats", 3, Scale::PUBLISHED, Instant::now()).unwrap();
    workload.sessions.truncate(1);
    workload.sessions[0].turns.truncate(3);
    let row = result("least-request+kvcache-aware", &workload);
    // All but the newest words and the ends of blocks.
    assert!(row.cache_hit_ratio > 0.4, "{row:?}");
}

#[test]
fn requests_that_cannot_fit_fail_and_the_rest_goes_on() {
    let mut workload = small(512);
    // More than the longest context.
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

fn request(second: u64, input: u64, output: u64) -> Record {
    Record {
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        status: 200,
        model: "a model = \"tokens=1/1\"".to_owned(),
        input_tokens: input,
        usage: (output > 0).then_some(Usage {
            prompt: input,
            completion: output,
        }),
        ..Record::new(UNIX_EPOCH + Duration::from_millis(second * 1000 + 250))
    }
}

#[rstest]
#[case::text(LogFormat::Text)]
#[case::json(LogFormat::Json)]
fn what_the_router_logs_is_replayed_when_it_came(#[case] format: LogFormat) {
    let mut log = String::from("the log begins\n");
    for record in [
        request(1_000_012, 50, 5),
        request(1_000_010, 70, 9),
        // Refused, or broken off: there is nothing to replay.
        request(1_000_011, 20, 0),
    ] {
        write_line(&record, format, &mut log);
    }
    let seconds = |text: &str| {
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(time.as_duration().as_secs_f64())
    };
    let workload = trace::read(&log, seconds).unwrap();
    let sessions = workload.sessions.iter();
    let seen: Vec<_> = sessions
        .map(|session| {
            (
                session.start.as_secs(),
                session.turns[0].own,
                session.turns[0].output,
            )
        })
        .collect();
    assert_eq!(seen, [(0, 70, 9), (2, 50, 5)]);
    let row = result("least-request", &workload);
    assert!((row.success_rate - 1.0).abs() < 1e-9);
}

#[test]
fn a_log_without_requests_is_refused() {
    assert_eq!(trace::read("{}\nnothing", |_| None), Err(TraceError::Empty));
}

#[test]
fn a_greedy_user_waits_and_the_others_do_not() {
    let workload = by_name("fairness", 1, Scale::PUBLISHED, Instant::now()).unwrap();
    let report = run(&fleet(), &of("least-request"), &workload, 1, &mut |_| {});
    assert!((report.row.success_rate - 1.0).abs() < 1e-9, "{report:?}");
    assert_eq!(report.waits.len(), 21);
    let greedy = &report.waits[0];
    assert_eq!((greedy.user, greedy.requests), (0, 600));
    for other in &report.waits[1..] {
        assert!(other.mean * 5.0 < greedy.mean, "{other:?} {greedy:?}");
    }
    assert!(report::waits(&[report]).contains("| least-request | 1 | the greedy one | 600 |"));
}

#[rstest]
#[case::by_events("least-request+kvcache-aware")]
#[case::by_what_was_sent("least-request+prefix-cache")]
#[case::ours("adaptive")]
fn several_routers_answer_everything(#[case] policy: &str) {
    let workload = small(1024);
    let fleet = FleetConfig {
        routers: 3,
        ..fleet()
    };
    let row = run(&fleet, &of(policy), &workload, 1, &mut |_| {}).row;
    assert!((row.success_rate - 1.0).abs() < 1e-9, "{row:?}");
    let random = result("random", &workload);
    assert!(row.cache_hit_ratio > random.cache_hit_ratio, "{row:?}");
}

#[test]
fn a_router_that_hears_of_prefixes_late_finds_fewer() {
    let workload = small(4096);
    let fleet = FleetConfig {
        knowledge: Knowledge::Published,
        ..fleet()
    };
    let policy = of("least-request+prefix-cache");
    let late = run(&fleet, &policy, &workload, 1, &mut |_| {}).row;
    let now = result(&policy.name, &workload);
    assert!(
        late.cache_hit_ratio < now.cache_hit_ratio,
        "{late:?} {now:?}"
    );
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
