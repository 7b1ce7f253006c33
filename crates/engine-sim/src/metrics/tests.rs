use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;

use super::text::number;
use super::*;

const FIXTURE: &str = include_str!("../../tests/fixtures/vllm-0.32/metrics_after.txt");

fn config(line: &str) -> EngineConfig {
    let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    EngineConfig::from_engine_args(&args).unwrap().0
}

fn rendered(line: &str) -> String {
    let config = config(line);
    Metrics::new(config.dialect, 1.5).render(&config)
}

/// Types by family name.
fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect()
}

/// Series with their labels, values cut off; labels of `cache_config_info` and of times differ by
/// set-up and are not compared.
fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| line.starts_with("vllm:") && !line.starts_with("vllm:cache_config_info"))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect()
}

#[test]
fn vllm_families_and_types_are_those_of_the_real_engine() {
    let ours = rendered("vllm serve tiny");
    let real = types(FIXTURE);
    let of_engine = real.iter().filter(|(name, _)| name.starts_with("vllm:"));
    for (name, kind) in of_engine {
        assert_eq!(types(&ours).get(name), Some(kind), "{name}");
    }
    for name in types(&ours).keys() {
        assert!(real.contains_key(name), "{name} is not in the real engine");
    }
}

#[test]
fn vllm_series_labels_and_buckets_are_those_of_the_real_engine() {
    let ours = rendered("vllm serve tiny");
    let (ours, real) = (series(&ours), series(FIXTURE));
    let missing: Vec<_> = real.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&real).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing {missing:?}, extra {extra:?}"
    );
}

#[test]
fn families_stand_in_the_order_of_the_real_engine() {
    let order = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.strip_prefix("# TYPE vllm:"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(order(&rendered("vllm serve tiny")), order(FIXTURE));
}

#[test]
fn the_cache_is_described_by_labels() {
    let text = rendered("vllm serve tiny --block-size 32 --num-gpu-blocks-override 512");
    let line = text
        .lines()
        .find(|line| line.starts_with("vllm:cache_config_info{"))
        .unwrap();
    assert!(line.contains("block_size=\"32\"") && line.contains("num_gpu_blocks=\"512\""));
}

#[test]
fn adapters_are_described_when_they_are_enabled() {
    let text = rendered("vllm serve tiny --enable-lora --max-loras 3");
    assert!(text.contains(
        "vllm:lora_requests_info{max_lora=\"3\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"} 1.5"
    ));
}

#[rstest]
#[case::running("sglang:num_running_reqs", "gauge")]
#[case::waiting("sglang:num_queue_reqs", "gauge")]
#[case::usage("sglang:token_usage", "gauge")]
#[case::first_token("sglang:time_to_first_token_seconds", "histogram")]
#[case::inter_token("sglang:inter_token_latency_seconds", "histogram")]
#[case::total("sglang:e2e_request_latency_seconds", "histogram")]
#[case::tokens("sglang:generation_tokens_total", "counter")]
fn sglang_families(#[case] name: &str, #[case] kind: &str) {
    let text = rendered("--model-path m-7b");
    assert_eq!(types(&text).get(name), Some(&kind));
}

#[rstest]
#[case::whole(12.0, "12.0")]
#[case::fraction(0.25, "0.25")]
#[case::below_a_million(999_999.0, "999999.0")]
#[case::million(1_000_000.0, "1e+06")]
#[case::time(1_795_363_363.510_65, "1.79536336351065e+09")]
#[case::infinity(f64::INFINITY, "+Inf")]
#[case::zero(0.0, "0.0")]
fn numbers(#[case] value: f64, #[case] expected: &str) {
    let mut out = String::new();
    number(value, &mut out);
    assert_eq!(out, expected);
}

#[test]
fn buckets_are_cumulative_and_bounds_inclusive() {
    let mut histogram = Histogram::new(&[1.0, 2.0]);
    for value in [0.5, 1.0, 1.5, 9.0] {
        histogram.observe(value);
    }
    let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
    assert_eq!(counts, [2, 3, 4]);
    assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
}
