use proptest::prelude::*;
use rstest::rstest;

use super::*;

#[test]
fn copies_follow_their_source_with_all_of_it() {
    let text = "\
# HELP vllm:num_requests_waiting Waiting.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\"} 3.0
# HELP other Other.
# TYPE other counter
other_total 1
";
    let expected = "\
# HELP vllm:num_requests_waiting Waiting.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\"} 3.0
# HELP kthena:num_requests_waiting Waiting.
# TYPE kthena:num_requests_waiting gauge
kthena:num_requests_waiting{engine=\"0\"} 3.0
# HELP other Other.
# TYPE other counter
other_total 1
";
    assert_eq!(rename(Engine::Vllm, text).unwrap(), expected);
}

#[rstest]
#[case::counter_with_its_suffix_in_the_type(
    Engine::Vllm,
    "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{a=\"b\"} 4\n",
    "kthena:generation_tokens_total{a=\"b\"} 4"
)]
#[case::counter_of_open_metrics(
    Engine::Sglang,
    "# TYPE sglang:generation_tokens counter\nsglang:generation_tokens_total 4\n",
    "kthena:generation_tokens_total 4"
)]
#[case::histogram_bucket(
    Engine::Vllm,
    "vllm:time_to_first_token_seconds_bucket{le=\"0.1\"} 4\n",
    "kthena:time_to_first_token_seconds_bucket{le=\"0.1\"} 4"
)]
#[case::newer_name(
    Engine::Vllm,
    "vllm:inter_token_latency_seconds_sum 2.5",
    "kthena:time_per_output_token_seconds_sum 2.5"
)]
#[case::other_engines_queue(
    Engine::Sglang,
    "sglang:num_queue_reqs 7 1700000000\n",
    "kthena:num_requests_waiting 7 1700000000"
)]
fn gives_the_standard_name(#[case] engine: Engine, #[case] text: &str, #[case] expected: &str) {
    let renamed = rename(engine, text).unwrap();
    assert!(renamed.starts_with(text), "{renamed}");
    assert!(renamed.lines().any(|line| line == expected), "{renamed}");
}

#[test]
fn of_two_sources_the_first_counts() {
    let text = "\
vllm:inter_token_latency_seconds_sum 1
vllm:time_per_output_token_seconds_sum 2
";
    let renamed = rename(Engine::Vllm, text).unwrap();
    assert!(renamed.contains("kthena:time_per_output_token_seconds_sum 2"));
    assert!(!renamed.contains("kthena:time_per_output_token_seconds_sum 1"));
}

#[test]
fn a_longer_name_is_another_metric() {
    let text = "vllm:num_requests_waiting_by_reason{reason=\"x\"} 1\n";
    assert_eq!(rename(Engine::Vllm, text).unwrap(), text);
}

#[rstest]
#[case::html("<html>\n")]
#[case::value_missing("vllm:num_requests_waiting\n")]
#[case::value_no_number("vllm:num_requests_waiting many\n")]
fn what_is_no_exposition_is_an_error(#[case] text: &str) {
    assert_eq!(rename(Engine::Vllm, text).unwrap_err().line, 1);
}

#[test]
fn nothing_stays_nothing() {
    assert_eq!(rename(Engine::Vllm, "").unwrap(), "");
}

#[test]
fn a_real_engines_text_gets_all_five() {
    let text = include_str!("../../../engine-sim/tests/fixtures/vllm-0.32/metrics_after.txt");
    let renamed = rename(Engine::Vllm, text).unwrap();
    for name in [
        "kthena:generation_tokens_total{",
        "kthena:num_requests_waiting{",
        "kthena:time_to_first_token_seconds_bucket{",
        "kthena:time_per_output_token_seconds_count{",
        "kthena:e2e_request_latency_seconds_sum{",
    ] {
        assert!(renamed.contains(name), "{name} is missing");
    }
    let kept: Vec<&str> = renamed
        .lines()
        .filter(|line| !line.contains("kthena:"))
        .collect();
    assert_eq!(kept, text.lines().collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(# (HELP|TYPE) )?[a-z:_{}\"= 0-9\n]{0,200}") {
        if let Ok(renamed) = rename(Engine::Vllm, &text) {
            prop_assert!(renamed.len() >= text.len());
        }
    }
}
