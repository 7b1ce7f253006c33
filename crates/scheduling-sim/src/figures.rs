//! What a run comes to, summed up answer by answer.

use std::time::Duration;

use serde::Serialize;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The workload's name.
    pub workload: String,
    /// The policy's name.
    pub policy: String,
    /// What chance was seeded with.
    pub seed: u64,
    /// Requests answered, by the time from the first request to the last answer.
    pub requests_per_second: f64,
    /// Mean time to the first token.
    pub ttft_seconds_mean: f64,
    /// Mean time to the last token.
    pub latency_seconds_mean: f64,
    /// Share of requests that were answered, 0 to 1.
    pub success_rate: f64,
    /// Share of all prompt tokens that came from a cache, 0 to 1.
    pub cache_hit_ratio: f64,
}

/// Sums over the requests of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    answered: usize,
    failed: usize,
    first_token: f64,
    latency: f64,
    prompt_tokens: u64,
    cached_tokens: u64,
    last_answer: Duration,
}

impl Figures {
    /// A request failed.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// A request was answered at `now`; times are from when it was sent.
    pub fn answered(&mut self, now: Duration, first_token: Duration, latency: Duration) {
        self.answered += 1;
        self.first_token += first_token.as_secs_f64();
        self.latency += latency.as_secs_f64();
        self.last_answer = self.last_answer.max(now);
    }

    /// Of its prompt's tokens, so many came from a cache.
    pub fn prompt(&mut self, tokens: u64, cached: u64) {
        self.prompt_tokens += tokens;
        self.cached_tokens += cached;
    }

    /// Requests that ended.
    pub fn ended(&self) -> usize {
        self.answered + self.failed
    }

    /// The figures of the run.
    pub fn row(&self, workload: &str, policy: &str, seed: u64) -> Row {
        let answered = self.answered.max(1) as f64;
        let seconds = self.last_answer.as_secs_f64().max(f64::MIN_POSITIVE);
        Row {
            workload: workload.to_owned(),
            policy: policy.to_owned(),
            seed,
            requests_per_second: self.answered as f64 / seconds,
            ttft_seconds_mean: self.first_token / answered,
            latency_seconds_mean: self.latency / answered,
            success_rate: self.answered as f64 / self.ended().max(1) as f64,
            cache_hit_ratio: self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64,
        }
    }
}
