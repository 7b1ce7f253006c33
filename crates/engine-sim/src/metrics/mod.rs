//! What the engine says about itself at `/metrics`: the families of vLLM and of SGLang, with their
//! names, labels, types and buckets.
//!
//! [`Metrics`] is fed by the batch loop; `vllm` and `sglang` write it down. Times are those of the
//! simulated engine, whatever speed it runs at.

mod histogram;
mod sglang;
mod text;
mod vllm;

use std::collections::BTreeMap;

pub use histogram::Histogram;

use crate::batch::{FinishReason, Finished, Load, StepOutcome, Totals};
use crate::config::{Dialect, EngineConfig};

#[cfg(test)]
mod tests;

/// Content type of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=1.0.0; charset=utf-8";

/// Everything that is counted.
#[derive(Debug, Clone)]
pub struct Metrics {
    started: f64,
    load: Load,
    totals: Totals,
    prompt_tokens: u64,
    generation_tokens: u64,
    finished: BTreeMap<FinishReason, u64>,
    http: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    prompt_lengths: Histogram,
    generation_lengths: Histogram,
    max_tokens: Histogram,
    choices: Histogram,
    iteration_tokens: Histogram,
    first_token: Histogram,
    inter_token: Histogram,
    time_per_token: Histogram,
    total: Histogram,
    queued: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    preemptions: Histogram,
    computed_prompt: Histogram,
}

impl Metrics {
    /// Nothing yet, since `started` (seconds since 1970).
    pub fn new(dialect: Dialect, started: f64) -> Self {
        let lengths = || Histogram::new(histogram::LENGTHS);
        let phase = || Histogram::new(histogram::PHASES);
        let (first_token, inter_token, total) = match dialect {
            Dialect::Vllm => (
                Histogram::new(histogram::FIRST_TOKEN),
                Histogram::new(histogram::INTER_TOKEN),
                phase(),
            ),
            Dialect::Sglang => (
                Histogram::new(histogram::SGLANG_FIRST_TOKEN),
                Histogram::new(histogram::SGLANG_INTER_TOKEN),
                Histogram::new(histogram::SGLANG_TOTAL),
            ),
        };
        Self {
            started,
            load: Load::default(),
            totals: Totals::default(),
            prompt_tokens: 0,
            generation_tokens: 0,
            finished: BTreeMap::new(),
            http: BTreeMap::new(),
            prompt_lengths: lengths(),
            generation_lengths: lengths(),
            max_tokens: lengths(),
            choices: Histogram::new(histogram::CHOICES),
            iteration_tokens: Histogram::new(histogram::ITERATION),
            first_token,
            inter_token,
            time_per_token: Histogram::new(histogram::INTER_TOKEN),
            total,
            queued: phase(),
            inference: phase(),
            prefill: phase(),
            decode: phase(),
            preemptions: Histogram::new(histogram::PREEMPTIONS),
            computed_prompt: lengths(),
        }
    }

    /// Queues and cache as they are from now on.
    pub fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// Only the waiting ones, while a batch runs.
    pub fn set_waiting(&mut self, waiting: u32, deferred: u32) {
        self.load.waiting = waiting;
        self.load.deferred = deferred;
    }

    /// The queues as last told.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Books a step that has ended.
    pub fn record_step(&mut self, step: &StepOutcome, totals: Totals) {
        self.totals = totals;
        self.generation_tokens += step.emitted.len() as u64;
        let decoded = step.emitted.iter().filter(|new| !new.first).count() as u64;
        self.iteration_tokens
            .observe((step.prompt_tokens + decoded) as f64);
        for new in &step.emitted {
            let target = if new.first {
                &mut self.first_token
            } else {
                &mut self.inter_token
            };
            target.observe(new.after.as_secs_f64());
        }
        for done in &step.finished {
            self.record_finished(done);
        }
    }

    fn record_finished(&mut self, done: &Finished) {
        *self.finished.entry(done.reason).or_default() += 1;
        self.prompt_tokens += u64::from(done.prompt_tokens);
        self.prompt_lengths.observe(f64::from(done.prompt_tokens));
        self.generation_lengths
            .observe(f64::from(done.output_tokens));
        self.preemptions.observe(f64::from(done.preemptions));
        let computed = done.prompt_tokens - done.cached_tokens;
        self.computed_prompt.observe(f64::from(computed));
        let gaps = done.output_tokens.saturating_sub(1).max(1);
        self.time_per_token
            .observe(done.decode.as_secs_f64() / f64::from(gaps));
        self.total.observe(done.total.as_secs_f64());
        self.queued.observe(done.queued.as_secs_f64());
        self.inference
            .observe((done.prefill + done.decode).as_secs_f64());
        self.prefill.observe(done.prefill.as_secs_f64());
        self.decode.observe(done.decode.as_secs_f64());
    }

    /// Books a request that ended in another way than by its last token.
    pub fn record_abort(&mut self) {
        *self.finished.entry(FinishReason::Abort).or_default() += 1;
    }

    /// Books what a request asked for.
    pub fn record_request(&mut self, choices: u32, max_tokens: u64) {
        self.choices.observe(f64::from(choices));
        self.max_tokens.observe(max_tokens as f64);
    }

    /// Books an HTTP answer.
    pub fn record_http(&mut self, handler: &'static str, method: &'static str, status: u16) {
        let class = match status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        *self.http.entry((handler, method, class)).or_default() += 1;
    }

    /// The exposition.
    pub fn render(&self, config: &EngineConfig) -> String {
        match config.dialect {
            Dialect::Vllm => vllm::render(self, config),
            Dialect::Sglang => sglang::render(self, config),
        }
    }
}
