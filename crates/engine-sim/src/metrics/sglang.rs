//! The families of SGLang that schedulers and dashboards read.

use super::text::Exposition;
use super::{FinishReason, Metrics};
use crate::config::{EngineConfig, Role};

pub(super) fn render(metrics: &Metrics, config: &EngineConfig) -> String {
    let kind = match config.role {
        Role::Aggregated => "unified",
        Role::Prefill => "prefill",
        Role::Decode => "decode",
    };
    let model = config.served_name();
    let ranks = [
        ("engine_type", kind),
        ("model_name", model),
        ("pp_rank", "0"),
        ("tp_rank", "0"),
    ];
    let mut out = Exposition::new(&ranks, metrics.started);
    queues(&mut out, metrics, config);
    let mut text = out.into_text();
    let base = [("model_name", model)];
    let mut out = Exposition::new(&base, metrics.started);
    requests(&mut out, metrics);
    text.push_str(&out.into_text());
    text
}

fn queues(out: &mut Exposition<'_>, metrics: &Metrics, config: &EngineConfig) {
    let load = &metrics.load;
    let totals = metrics.totals;
    let cache = config.batch.cache;
    let capacity = f64::from(cache.blocks) * f64::from(cache.block_size);
    let used = (load.cache_usage * capacity).round();
    let hit_rate = totals.cache_hits as f64 / (totals.cache_queries.max(1)) as f64;
    out.gauge(
        "sglang:num_running_reqs",
        "Requests in the batch.",
        f64::from(load.running),
    );
    out.gauge(
        "sglang:num_used_tokens",
        "Tokens in the cache that requests use.",
        used,
    );
    out.gauge(
        "sglang:token_usage",
        "Share of the cache that requests use.",
        load.cache_usage,
    );
    out.gauge(
        "sglang:num_queue_reqs",
        "Requests that wait.",
        f64::from(load.waiting),
    );
    out.gauge(
        "sglang:cache_hit_rate",
        "Share of prompt tokens found in the cache.",
        hit_rate,
    );
    out.gauge(
        "sglang:max_total_num_tokens",
        "Tokens the cache has room for.",
        capacity,
    );
}

fn requests(out: &mut Exposition<'_>, metrics: &Metrics) {
    let aborted = metrics
        .finished
        .get(&FinishReason::Abort)
        .copied()
        .unwrap_or(0);
    let all: u64 = metrics.finished.values().sum();
    out.counter(
        "sglang:prompt_tokens",
        "Prompt tokens processed.",
        metrics.prompt_tokens,
    );
    out.counter(
        "sglang:generation_tokens",
        "Tokens generated.",
        metrics.generation_tokens,
    );
    out.counter(
        "sglang:cached_tokens",
        "Prompt tokens found in the cache.",
        metrics.totals.cache_hits,
    );
    out.counter("sglang:num_requests", "Requests that ended.", all);
    out.counter(
        "sglang:num_aborted_requests",
        "Requests whose client went away.",
        aborted,
    );
    out.histogram(
        "sglang:time_to_first_token_seconds",
        "Arrival to first token.",
        &metrics.first_token,
    );
    out.histogram(
        "sglang:inter_token_latency_seconds",
        "From one token to the next.",
        &metrics.inter_token,
    );
    out.histogram(
        "sglang:e2e_request_latency_seconds",
        "Arrival to last token.",
        &metrics.total,
    );
}
