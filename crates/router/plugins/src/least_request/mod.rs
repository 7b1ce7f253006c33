//! Few requests: takes out engines whose queue is long, prefers endpoints with little work.

use std::num::NonZeroU32;

use fastrand::Rng;
use kthena_router_scheduler::{Candidates, Filter, Reading, RequestFacts, Score, Scorer};

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

    fn filter(&self, _request: &RequestFacts<'_>, candidates: &Candidates<'_>, keep: &mut [bool]) {
        for (keep, reading) in keep.iter_mut().zip(candidates.readings()) {
            *keep = reading.waiting < self.config.max_waiting.get();
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
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        let most = candidates.readings().iter().map(work).max().unwrap_or(0);
        if most == 0 {
            scores.fill(Score(100));
            return;
        }
        let all = as_f64(most);
        let mark = |work| Score::truncated((all - as_f64(work)) / all * 100.0);
        // In a large fleet most have the same work as the one before.
        let mut last = (most, mark(most));
        for (score, reading) in scores.iter_mut().zip(candidates.readings()) {
            let work = work(reading);
            if work != last.0 {
                last = (work, mark(work));
            }
            *score = last.1;
        }
    }
}

fn work(reading: &Reading) -> i64 {
    let on_flight = i64::from(reading.on_flight);
    let queued = (on_flight - i64::from(reading.running)).max(0);
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
