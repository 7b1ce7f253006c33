//! The families of vLLM 0.32, in its order.

use super::text::Exposition;
use super::{FinishReason, Metrics};
use crate::config::EngineConfig;

const ENGINE: &str = "0";

pub(super) fn render(metrics: &Metrics, config: &EngineConfig) -> String {
    let model = config.served_name();
    let base = [("engine", ENGINE), ("model_name", model)];
    let mut out = Exposition::new(&base, metrics.started);
    work(&mut out);
    queues(&mut out, metrics);
    prefix_cache(&mut out, metrics);
    tokens(&mut out, metrics);
    outcomes(&mut out, metrics);
    let mut text = out.into_text();

    let unlabelled = [("model_name", model)];
    let mut out = Exposition::new(&unlabelled, metrics.started);
    rejections(&mut out);
    text.push_str(&out.into_text());

    let mut out = Exposition::new(&base, metrics.started);
    lengths(&mut out, metrics);
    times(&mut out, metrics);
    text.push_str(&out.into_text());

    text.push_str(&information(metrics, config));
    text
}

fn work(out: &mut Exposition<'_>) {
    out.counter(
        "vllm:estimated_flops_per_gpu",
        "Arithmetic per GPU; not estimated.",
        0,
    );
    out.counter(
        "vllm:estimated_read_bytes_per_gpu",
        "Memory reads per GPU; not estimated.",
        0,
    );
    out.counter(
        "vllm:estimated_write_bytes_per_gpu",
        "Memory writes per GPU; not estimated.",
        0,
    );
}

fn queues(out: &mut Exposition<'_>, metrics: &Metrics) {
    let load = &metrics.load;
    let waiting = f64::from(load.waiting);
    let deferred = f64::from(load.deferred);
    out.gauge(
        "vllm:num_requests_running",
        "Requests in the batch.",
        f64::from(load.running),
    );
    out.gauge("vllm:num_requests_waiting", "Requests that wait.", waiting);
    out.gauges(
        "vllm:num_requests_waiting_by_reason",
        "Requests that wait for their turn (capacity) or for an adapter slot or a transfer (deferred).",
        &[
            (&[("reason", "capacity")], waiting - deferred),
            (&[("reason", "deferred")], deferred),
        ],
    );
    out.gauges(
        "vllm:engine_sleep_state",
        "Whether the engine is awake, or how deep it sleeps.",
        &[
            (&[("sleep_state", "awake")], 1.0),
            (&[("sleep_state", "weights_offloaded")], 0.0),
            (&[("sleep_state", "discard_all")], 0.0),
        ],
    );
    out.gauge(
        "vllm:kv_cache_usage_perc",
        "Share of cache blocks in use.",
        load.cache_usage,
    );
}

fn prefix_cache(out: &mut Exposition<'_>, metrics: &Metrics) {
    let totals = metrics.totals;
    let (queries, hits) = (totals.cache_queries, totals.cache_hits);
    out.counter(
        "vllm:prefix_cache_queries",
        "Prompt tokens looked up in the cache.",
        queries,
    );
    out.counter(
        "vllm:prefix_cache_hits",
        "Prompt tokens found in the cache.",
        hits,
    );
    let moved = totals.transferred;
    out.counter(
        "vllm:external_prefix_cache_queries",
        "Prompt tokens asked of other engines.",
        moved,
    );
    out.counter(
        "vllm:external_prefix_cache_hits",
        "Prompt tokens got from other engines.",
        moved,
    );
    out.counter(
        "vllm:mm_cache_queries",
        "Images and sounds looked up in the cache.",
        0,
    );
    out.counter(
        "vllm:mm_cache_hits",
        "Images and sounds found in the cache.",
        0,
    );
    out.counter(
        "vllm:num_preemptions",
        "Requests put back for lack of blocks.",
        totals.preemptions,
    );
}

fn tokens(out: &mut Exposition<'_>, metrics: &Metrics) {
    let totals = metrics.totals;
    let cached = totals.cache_hits + totals.transferred;
    out.counter(
        "vllm:prompt_tokens",
        "Prompt tokens processed.",
        metrics.prompt_tokens,
    );
    let computed = totals.cache_queries.saturating_sub(cached);
    out.counters(
        "vllm:prompt_tokens_by_source",
        "Prompt tokens by where their keys and values came from.",
        &[
            (&[("source", "local_compute")], computed),
            (&[("source", "local_cache_hit")], totals.cache_hits),
            (&[("source", "external_kv_transfer")], totals.transferred),
        ],
    );
    out.counter(
        "vllm:prompt_tokens_cached",
        "Prompt tokens that were not computed.",
        cached,
    );
    out.counters(
        "vllm:prompt_tokens_cached_by_source",
        "Prompt tokens that were not computed, by the tier that had them.",
        &[
            (&[("source", "device")], totals.cache_hits),
            (&[("source", "host")], 0),
            (&[("source", "p2p")], totals.transferred),
            (&[("source", "disk")], 0),
            (&[("source", "external_unspecified")], 0),
        ],
    );
    out.counter(
        "vllm:generation_tokens",
        "Tokens generated.",
        metrics.generation_tokens,
    );
}

fn outcomes(out: &mut Exposition<'_>, metrics: &Metrics) {
    let of = |reason| metrics.finished.get(&reason).copied().unwrap_or(0);
    out.counters(
        "vllm:request_success",
        "Requests by how they ended.",
        &[
            (&[("finished_reason", "stop")], of(FinishReason::Stop)),
            (&[("finished_reason", "length")], of(FinishReason::Length)),
            (&[("finished_reason", "abort")], of(FinishReason::Abort)),
            (&[("finished_reason", "error")], of(FinishReason::Error)),
            (&[("finished_reason", "repetition")], 0),
        ],
    );
}

fn rejections(out: &mut Exposition<'_>) {
    out.counters(
        "vllm:admission_rejections",
        "Requests refused because a queue was full.",
        &[
            (&[("reason", "max_num_queued_reqs")], 0),
            (&[("reason", "max_num_queued_tokens")], 0),
        ],
    );
}

fn lengths(out: &mut Exposition<'_>, metrics: &Metrics) {
    out.histogram(
        "vllm:request_prompt_tokens",
        "Prompt tokens per request.",
        &metrics.prompt_lengths,
    );
    out.histogram(
        "vllm:request_generation_tokens",
        "Generated tokens per request.",
        &metrics.generation_lengths,
    );
    out.histogram(
        "vllm:iteration_tokens_total",
        "Tokens per step.",
        &metrics.iteration_tokens,
    );
    out.histogram(
        "vllm:request_max_num_generation_tokens",
        "Longest answer per request, tokens.",
        &metrics.generation_lengths,
    );
    out.histogram(
        "vllm:request_params_n",
        "Choices asked for.",
        &metrics.choices,
    );
    out.histogram(
        "vllm:request_params_max_tokens",
        "Tokens asked for.",
        &metrics.max_tokens,
    );
}

fn times(out: &mut Exposition<'_>, metrics: &Metrics) {
    let families = [
        (
            "time_to_first_token_seconds",
            "Arrival to first token.",
            &metrics.first_token,
        ),
        (
            "inter_token_latency_seconds",
            "From one token to the next.",
            &metrics.inter_token,
        ),
        (
            "request_time_per_output_token_seconds",
            "Mean time per token of a request.",
            &metrics.time_per_token,
        ),
        (
            "e2e_request_latency_seconds",
            "Arrival to last token.",
            &metrics.total,
        ),
        (
            "request_queue_time_seconds",
            "Arrival to first batch.",
            &metrics.queued,
        ),
        (
            "request_inference_time_seconds",
            "First batch to last token.",
            &metrics.inference,
        ),
        (
            "request_prefill_time_seconds",
            "First batch to first token.",
            &metrics.prefill,
        ),
        (
            "request_decode_time_seconds",
            "First token to last token.",
            &metrics.decode,
        ),
        (
            "request_num_preemptions",
            "How often a request was put back.",
            &metrics.preemptions,
        ),
        (
            "request_prefill_kv_computed_tokens",
            "Prompt tokens of a request that were computed.",
            &metrics.computed_prompt,
        ),
    ];
    for (name, help, histogram) in families {
        out.histogram(&format!("vllm:{name}"), help, histogram);
    }
}

/// Families that describe the engine, the adapters and the HTTP server.
fn information(metrics: &Metrics, config: &EngineConfig) -> String {
    let mut out = Exposition::new(&[], metrics.started);
    let cache = config.batch.cache;
    let (size, blocks) = (cache.block_size.to_string(), cache.blocks.to_string());
    let tokens = (u64::from(cache.blocks) * u64::from(cache.block_size)).to_string();
    let caching = if cache.prefix_caching {
        "True"
    } else {
        "False"
    };
    let utilization = config.memory_utilization.to_string();
    out.gauges(
        "vllm:cache_config_info",
        "Layout of the cache, as labels.",
        &[(
            &[
                ("block_size", &size),
                ("cache_dtype", "auto"),
                ("enable_prefix_caching", caching),
                ("engine", ENGINE),
                ("gpu_memory_utilization", &utilization),
                ("kv_cache_size_tokens", &tokens),
                ("num_cpu_blocks", "None"),
                ("num_gpu_blocks", &blocks),
                ("num_gpu_blocks_override", "None"),
                ("prefix_caching_hash_algo", "sha256"),
                ("sliding_window", "None"),
            ],
            1.0,
        )],
    );
    if config.adapters_enabled {
        let slots = config.batch.adapter_slots.to_string();
        let running = metrics.load.running_adapters.join(",");
        let waiting = metrics.load.waiting_adapters.join(",");
        out.gauges(
            "vllm:lora_requests_info",
            "Adapters in use, as labels.",
            &[(
                &[
                    ("max_lora", &slots),
                    ("running_lora_adapters", &running),
                    ("waiting_lora_adapters", &waiting),
                ],
                metrics.started,
            )],
        );
    }
    http(&mut out, metrics);
    out.into_text()
}

fn http(out: &mut Exposition<'_>, metrics: &Metrics) {
    let labelled: Vec<_> = metrics
        .http
        .iter()
        .map(|(&(handler, method, status), count)| {
            let labels = [("handler", handler), ("method", method), ("status", status)];
            (labels, *count)
        })
        .collect();
    let series: Vec<_> = labelled
        .iter()
        .map(|(labels, count)| (labels.as_slice(), *count))
        .collect();
    let help = "Requests by handler, method and status.";
    out.counters("http_requests", help, &series);
}
