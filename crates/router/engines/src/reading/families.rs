//! Which family means what, in which engine.

/// What a family tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Share of the KV cache in use, 0 to 1.
    Usage,
    /// Requests that wait.
    Waiting,
    /// Requests that run.
    Running,
    /// Seconds to the first token.
    FirstToken,
    /// Seconds from a token to the next.
    NextToken,
    /// Seconds of prefill per request.
    PrefillSeconds,
    /// Prompt tokens per request that were computed, not found in the cache.
    PrefillTokens,
    /// Prompt tokens looked up in the cache.
    Queried,
    /// Prompt tokens found there.
    Hit,
    /// Requests put back to make room.
    Preempted,
    /// Form of the KV cache, as labels.
    CacheForm,
}

/// How a family must be declared to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// How the series of a family become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    Sum,
    Max,
    /// Series that agree in this label repeat each other, the others add up.
    SumBy(&'static str),
}

/// A family that is read.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
    pub(super) kind: Kind,
    pub(super) merge: Merge,
}

/// All of them; of two with one meaning the first that a page has counts.
pub(super) const FAMILIES: &[Family] = &[
    gauge("vllm:kv_cache_usage_perc", Meaning::Usage, Merge::Max),
    gauge("vllm:gpu_cache_usage_perc", Meaning::Usage, Merge::Max),
    gauge("sglang:token_usage", Meaning::Usage, Merge::Max),
    gauge("vllm:num_requests_waiting", Meaning::Waiting, Merge::Sum),
    gauge("sglang:num_queue_reqs", Meaning::Waiting, BY_RANK),
    gauge("tgi_queue_size", Meaning::Waiting, Merge::Sum),
    gauge("vllm:num_requests_running", Meaning::Running, Merge::Sum),
    gauge("sglang:num_running_reqs", Meaning::Running, BY_RANK),
    gauge("tgi_batch_current_size", Meaning::Running, Merge::Sum),
    histogram("vllm:time_to_first_token_seconds", Meaning::FirstToken),
    histogram("sglang:time_to_first_token_seconds", Meaning::FirstToken),
    histogram("vllm:inter_token_latency_seconds", Meaning::NextToken),
    histogram("vllm:time_per_output_token_seconds", Meaning::NextToken),
    histogram(
        "vllm:request_time_per_output_token_seconds",
        Meaning::NextToken,
    ),
    histogram("sglang:inter_token_latency_seconds", Meaning::NextToken),
    histogram("sglang:time_per_output_token_seconds", Meaning::NextToken),
    histogram(
        "tgi_request_mean_time_per_token_duration",
        Meaning::NextToken,
    ),
    histogram("vllm:request_prefill_time_seconds", Meaning::PrefillSeconds),
    histogram(
        "vllm:request_prefill_kv_computed_tokens",
        Meaning::PrefillTokens,
    ),
    counter("vllm:prefix_cache_queries", Meaning::Queried),
    counter("vllm:gpu_prefix_cache_queries", Meaning::Queried),
    counter("sglang:prompt_tokens", Meaning::Queried),
    counter("vllm:prefix_cache_hits", Meaning::Hit),
    counter("vllm:gpu_prefix_cache_hits", Meaning::Hit),
    counter("sglang:cached_tokens", Meaning::Hit),
    counter("vllm:num_preemptions", Meaning::Preempted),
    gauge("vllm:cache_config_info", Meaning::CacheForm, Merge::Max),
    gauge("sglang:cache_config_info", Meaning::CacheForm, Merge::Max),
];

/// Tensor-parallel ranks of `SGLang` report the same queue.
const BY_RANK: Merge = Merge::SumBy("dp_rank");

/// Names of all families begin with one of these.
const PREFIXES: [&[u8]; 3] = [b"vllm:", b"sglang:", b"tgi_"];

const fn gauge(name: &'static str, meaning: Meaning, merge: Merge) -> Family {
    Family {
        name,
        meaning,
        kind: Kind::Gauge,
        merge,
    }
}

const fn histogram(name: &'static str, meaning: Meaning) -> Family {
    Family {
        name,
        meaning,
        kind: Kind::Histogram,
        merge: Merge::Sum,
    }
}

const fn counter(name: &'static str, meaning: Meaning) -> Family {
    Family {
        name,
        meaning,
        kind: Kind::Counter,
        merge: Merge::Sum,
    }
}

/// Which number of a family a series carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Value,
    Sum,
    Count,
}

/// The position in [`FAMILIES`] of the family that a series belongs to.
pub(super) fn of_series(name: &[u8]) -> Option<(usize, Number)> {
    if name.ends_with(b"_bucket") || name.ends_with(b"_created") || !may_be_ours(name) {
        return None;
    }
    FAMILIES.iter().enumerate().find_map(|(at, family)| {
        // Lengths are quicker to compare than names, most of which differ late.
        let suffix = name.len().checked_sub(family.name.len())?;
        if !matches!(suffix, 0 | 4 | 6) {
            return None;
        }
        let suffix = name.strip_prefix(family.name.as_bytes())?;
        let number = match (family.kind, suffix) {
            (Kind::Gauge, b"") | (Kind::Counter, b"_total" | b"") => Number::Value,
            (Kind::Histogram, b"_sum") => Number::Sum,
            (Kind::Histogram, b"_count") => Number::Count,
            _ => return None,
        };
        Some((at, number))
    })
}

/// What a declaration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// The family at this position is what it should be.
    Right(usize),
    /// A family that is read is something else.
    Wrong,
    /// A family that is not read begins.
    Foreign,
}

/// What the declaration of `family` as a `kind` says.
pub(super) fn of_declaration(family: &[u8], kind: &[u8]) -> Declared {
    if !may_be_ours(family) {
        return Declared::Foreign;
    }
    for (at, known) in FAMILIES.iter().enumerate() {
        // Lengths are quicker to compare than names, most of which differ late.
        if !matches!(family.len().checked_sub(known.name.len()), Some(0 | 6)) {
            continue;
        }
        let right: &[u8] = match (known.kind, family.strip_prefix(known.name.as_bytes())) {
            (Kind::Gauge, Some(b"")) => b"gauge",
            (Kind::Histogram, Some(b"")) => b"histogram",
            (Kind::Counter, Some(b"" | b"_total")) => b"counter",
            _ => continue,
        };
        return if kind == right {
            Declared::Right(at)
        } else {
            Declared::Wrong
        };
    }
    Declared::Foreign
}

fn may_be_ours(name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
