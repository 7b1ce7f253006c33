use rstest::rstest;

use crate::loads::parse;
use crate::view::EngineLoad;

#[rstest]
#[case::vllm_with_two_ranks(
    "# HELP vllm:num_requests_running Running.\n\
     vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
     vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
     vllm:num_requests_waiting{engine=\"0\"} 4\n\
     vllm:num_requests_waiting_by_reason{engine=\"0\"} 9\n\
     vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n",
    Some(EngineLoad { running: 3.0, waiting: 4.0, kv_usage: 0.5 })
)]
#[case::sglang(
    "sglang:num_running_reqs 1\nsglang:num_queue_reqs 0\n",
    Some(EngineLoad { running: 1.0, waiting: 0.0, kv_usage: 0.0 })
)]
#[case::another_program("process_cpu_seconds_total 3\n", None)]
fn the_load_is_read_off_a_metrics_page(#[case] page: &str, #[case] expected: Option<EngineLoad>) {
    assert_eq!(parse(page), expected);
}
