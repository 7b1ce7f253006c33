//! Few requests: takes out engines whose queue is long, prefers endpoints with little work.

use std::num::NonZeroU32;

use fastrand::Rng;
use kthena_router_scheduler::{Candidate, Filter, RequestFacts, Score, Scorer};

/// The plugin's name, as filter and as scorer.
pub const NAME: &str = "least-request";

/// Settings of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastRequestConfig {
    /// An engine with as many requests in its queue gets no more.
    pub max_waiting: NonZeroU32,
}

/// Takes out endpoints whose engine has too many requests waiting. An engine that was never measured has none.
#[derive(Debug, Clone, Copy)]
pub struct ShortQueue {
    config: LeastRequestConfig,
}

/// Full marks for the least work. A request that the engine does not run yet counts a hundred times.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequest;

impl Default for LeastRequestConfig {
    fn default() -> Self {
        Self {
            max_waiting: NonZeroU32::MIN.saturating_add(9),
        }
    }
}

impl ShortQueue {
    /// A filter with these settings.
    pub fn new(config: LeastRequestConfig) -> Self {
        Self { config }
    }
}

impl Filter for ShortQueue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, _request: &RequestFacts<'_>, candidates: &[&Candidate], keep: &mut [bool]) {
        for (keep, candidate) in keep.iter_mut().zip(candidates) {
            let sample = candidate.endpoint.sample().unwrap_or_default();
            *keep = sample.waiting < self.config.max_waiting.get();
        }
    }
}

impl Scorer for LeastRequest {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score(
        &self,
        _request: &RequestFacts<'_>,
        candidates: &[&Candidate],
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        // The work goes where the mark will stand, so that it is read once.
        for (score, candidate) in scores.iter_mut().zip(candidates) {
            *score = Score(work(candidate));
        }
        let most = scores.iter().max().map_or(0, |score| score.0);
        for score in scores.iter_mut() {
            *score = if most > 0 {
                let most = as_f64(most);
                Score::truncated((most - as_f64(score.0)) / most * 100.0)
            } else {
                Score(100)
            };
        }
    }
}

fn work(candidate: &Candidate) -> i64 {
    let on_flight = i64::from(candidate.endpoint.on_flight());
    let running = candidate.endpoint.sample().unwrap_or_default().running;
    let queued = (on_flight - i64::from(running)).max(0);
    on_flight + 100 * queued
}

#[expect(
    clippy::cast_precision_loss,
    reason = "work is below 2^40, since counts have 32 bits"
)]
fn as_f64(work: i64) -> f64 {
    work as f64
}

#[cfg(test)]
mod tests;
