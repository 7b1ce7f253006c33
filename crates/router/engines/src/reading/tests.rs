use proptest::prelude::*;
use rstest::rstest;

use super::{PageFault, Reading};
use crate::Totals;

const VLLM: &str = include_str!("../../fixtures/vllm-0.32-metrics.txt");
const VLLM_IDLE: &str = include_str!("../../fixtures/vllm-0.32-metrics-idle.txt");

fn read(page: &str) -> Reading {
    Reading::parse(page.as_bytes()).expect("a readable page")
}

fn gauge(name: &str, value: &str) -> String {
    format!("# TYPE {name} gauge\n{name} {value}\n")
}

fn histogram(name: &str, sum: &str, count: &str) -> String {
    format!(
        "# TYPE {name} histogram\n{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n"
    )
}

#[rstest]
#[case::vllm(
    "vllm:kv_cache_usage_perc",
    "vllm:num_requests_waiting",
    "vllm:num_requests_running"
)]
#[case::older_vllm(
    "vllm:gpu_cache_usage_perc",
    "vllm:num_requests_waiting",
    "vllm:num_requests_running"
)]
#[case::sglang(
    "sglang:token_usage",
    "sglang:num_queue_reqs",
    "sglang:num_running_reqs"
)]
fn gauges(#[case] usage: &str, #[case] waiting: &str, #[case] running: &str) {
    let page = gauge(usage, "0.25") + &gauge(waiting, "3") + &gauge(running, "4.0");
    let reading = read(&page);
    assert_eq!(
        (reading.usage, reading.waiting, reading.running),
        (Some(0.25), Some(3.0), Some(4.0))
    );
}

#[rstest]
#[case::vllm("vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds")]
#[case::older_vllm(
    "vllm:time_to_first_token_seconds",
    "vllm:time_per_output_token_seconds"
)]
#[case::sglang(
    "sglang:time_to_first_token_seconds",
    "sglang:inter_token_latency_seconds"
)]
#[case::older_sglang(
    "sglang:time_to_first_token_seconds",
    "sglang:time_per_output_token_seconds"
)]
fn latencies(#[case] first: &str, #[case] next: &str) {
    let page = histogram(first, "1.5", "3") + &histogram(next, "0.5", "50");
    let reading = read(&page);
    assert_eq!(
        reading.first_token,
        Some(Totals {
            sum: 1.5,
            count: 3.0
        })
    );
    assert_eq!(
        reading.next_token,
        Some(Totals {
            sum: 0.5,
            count: 50.0
        })
    );
}

#[test]
fn a_newer_name_wins_over_an_older_one() {
    let page =
        gauge("vllm:gpu_cache_usage_perc", "0.9") + &gauge("vllm:kv_cache_usage_perc", "0.1");
    assert_eq!(read(&page).usage, Some(0.1));
}

#[test]
fn a_gauge_that_is_missing_from_a_known_page_is_zero() {
    let reading = read(&gauge("vllm:num_requests_running", "4"));
    assert_eq!((reading.waiting, reading.usage), (Some(0.0), Some(0.0)));
    assert_eq!(reading.first_token, None);
}

#[rstest]
#[case::declared_as_something_else(
    "# TYPE vllm:num_requests_waiting counter\nvllm:num_requests_waiting 7\n"
)]
#[case::not_declared("vllm:num_requests_waiting 7\n")]
fn what_is_no_gauge_reads_as_zero(#[case] page: &str) {
    assert_eq!(read(page).waiting, Some(0.0));
}

#[test]
fn a_histogram_that_is_declared_as_something_else_is_absent() {
    let page = histogram("vllm:time_to_first_token_seconds", "1", "2")
        .replace(" histogram", " gauge")
        + &gauge("vllm:num_requests_running", "1");
    assert_eq!(read(&page).first_token, None);
}

#[rstest]
#[case::not_a_number("NaN")]
#[case::infinite("+Inf")]
fn a_gauge_that_is_not_finite_says_nothing(#[case] value: &str) {
    assert_eq!(
        read(&gauge("vllm:num_requests_waiting", value)).waiting,
        None
    );
}

#[test]
fn ranks_of_a_vllm_add_up() {
    let page = "\
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 2
vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 5
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine=\"0\"} 0.75
vllm:kv_cache_usage_perc{engine=\"1\"} 0.25
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_sum{engine=\"0\"} 1.0
vllm:time_to_first_token_seconds_sum{engine=\"1\"} 2.0
vllm:time_to_first_token_seconds_count{engine=\"0\"} 4
vllm:time_to_first_token_seconds_count{engine=\"1\"} 2
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"100\"} 1
vllm:cache_config_info{block_size=\"16\",engine=\"1\",num_gpu_blocks=\"100\"} 1
";
    let reading = read(page);
    assert_eq!(reading.waiting, Some(7.0));
    assert_eq!(reading.usage, Some(0.75));
    assert_eq!(
        reading.first_token,
        Some(Totals {
            sum: 3.0,
            count: 6.0
        })
    );
    assert_eq!((reading.block_size, reading.blocks), (Some(16), Some(200)));
}

#[test]
fn tensor_parallel_ranks_of_an_sglang_repeat_each_other() {
    let page = "\
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{dp_rank=\"0\",tp_rank=\"0\"} 2
sglang:num_queue_reqs{dp_rank=\"0\",tp_rank=\"1\"} 2
sglang:num_queue_reqs{dp_rank=\"1\",tp_rank=\"0\"} 5
sglang:num_queue_reqs{dp_rank=\"1\",tp_rank=\"1\"} 5
";
    assert_eq!(read(page).waiting, Some(7.0));
}

#[test]
fn a_tgi_tells_its_queue() {
    let page = gauge("tgi_queue_size", "3") + &gauge("tgi_batch_current_size", "8");
    let reading = read(&page);
    assert_eq!((reading.waiting, reading.running), (Some(3.0), Some(8.0)));
}

#[rstest]
#[case::nothing("", PageFault::Foreign)]
#[case::html("<html><body>not here</body></html>\n", PageFault::Foreign)]
#[case::another_program("# TYPE up gauge\nup 1\n", PageFault::Foreign)]
#[case::broken_value("vllm:num_requests_waiting many\n", PageFault::Malformed)]
#[case::broken_labels("vllm:num_requests_waiting{engine=\"0 3\n", PageFault::Malformed)]
fn refuses(#[case] page: &str, #[case] fault: PageFault) {
    assert_eq!(Reading::parse(page.as_bytes()), Err(fault));
}

#[test]
fn reads_what_a_vllm_said() {
    let reading = read(VLLM);
    assert_eq!(
        reading,
        Reading {
            usage: Some(0.0),
            waiting: Some(0.0),
            running: Some(0.0),
            first_token: Some(Totals {
                sum: 0.165_157_318_115_234_38,
                count: 12.0
            }),
            next_token: Some(Totals {
                sum: 0.135_055_453_998_575_1,
                count: 56.0
            }),
            prefill: Some(Totals {
                sum: 0.108_696_029_001_293_94,
                count: 391.0
            }),
            queried_tokens: Some(1351.0),
            hit_tokens: Some(960.0),
            preempted: Some(0.0),
            block_size: Some(32),
            blocks: Some(65_536),
        }
    );
}

#[test]
fn reads_what_an_idle_vllm_said() {
    let reading = read(VLLM_IDLE);
    assert_eq!(reading.first_token, Some(Totals::default()));
    assert_eq!(reading.block_size, Some(32));
}

/// Names that families which are read begin with, or that look like theirs.
const STRANGE: &str = "vllm:time_to_first_token_seconds{engine=\"0\"} 9
vllm:time_to_first_token_seconds_bucket 9
# TYPE vllm:time_to_first_token gauge
vllm:time_to_first_token 3
# TYPE vllm:num_requests histogram
vllm:num_requests_sum{engine=\"0\"} 3
# TYPE vllm:prefix_cache counter
vllm:prefix_cache_total{engine=\"0\"} 4
";

proptest! {
    #[test]
    fn the_order_of_lines_does_not_matter(seed in any::<u64>()) {
        // Swaps by a linear congruence: any permutation may come of it.
        let page = format!("{VLLM}{STRANGE}");
        let mut lines: Vec<&str> = page.lines().collect();
        let mut state = seed;
        for at in (1..lines.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(state >> 33).unwrap_or(0) % (at + 1);
            lines.swap(at, other);
        }
        prop_assert_eq!(read(&lines.join("\n")), read(&page));
    }

    #[test]
    fn a_page_cut_anywhere_is_survived(end in 0..VLLM.len()) {
        let _ = Reading::parse(&VLLM.as_bytes()[..end]);
    }

    #[test]
    fn a_damaged_page_is_survived(at in 0..VLLM.len(), byte in any::<u8>()) {
        let mut page = VLLM.as_bytes().to_vec();
        page[at] = byte;
        let _ = Reading::parse(&page);
    }

    #[test]
    fn any_likely_text_is_survived(
        text in "((vllm:num_requests_waiting|sglang:num_queue_reqs|vllm:cache_config_info|# TYPE )[ {}=\"\\\\,a-z_0-9.\n]{0,20}){0,8}"
    ) {
        let _ = Reading::parse(text.as_bytes());
    }
}
