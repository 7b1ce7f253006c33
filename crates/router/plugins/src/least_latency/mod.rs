//! Latency: prefers engines that were quick lately.

use fastrand::Rng;
use kthena_router_scheduler::{Candidates, Reading, RequestFacts, Score, Scorer};

/// The plugin's name.
pub const NAME: &str = "least-latency";

/// Settings of the plugin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeastLatencyConfig {
    /// How much the time to the first token counts against the time per token: 0 to 1.
    pub ttft_weight: f64,
}

/// Marks each measured endpoint by where it stands between the slowest and the quickest.
#[derive(Debug, Clone, Copy)]
pub struct LeastLatency {
    config: LeastLatencyConfig,
}

/// The mark of an endpoint of which nothing is known.
const UNMEASURED: Score = Score(50);

impl Default for LeastLatencyConfig {
    fn default() -> Self {
        Self { ttft_weight: 0.5 }
    }
}

impl LeastLatency {
    /// A scorer with these settings.
    pub fn new(config: LeastLatencyConfig) -> Self {
        Self { config }
    }
}

/// Least and most of a figure.
#[derive(Clone, Copy)]
struct Span {
    least: f64,
    most: f64,
}

impl Span {
    const EMPTY: Self = Self {
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };

    fn add(&mut self, value: f64) {
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// Where `value` stands: 100 for the least, 0 for the most, 100 if they are the same.
    fn mark(self, value: f64) -> f64 {
        if self.most > self.least {
            100.0 * (self.most - value) / (self.most - self.least)
        } else {
            100.0
        }
    }
}

impl Scorer for LeastLatency {
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
        let (mut first, mut each) = (Span::EMPTY, Span::EMPTY);
        for reading in candidates.readings() {
            if is_measured(reading) {
                first.add(reading.ttft);
                each.add(reading.tpot);
            }
        }
        let weight = self.config.ttft_weight;
        for (score, reading) in scores.iter_mut().zip(candidates.readings()) {
            *score = if is_measured(reading) {
                let marks =
                    first.mark(reading.ttft) * weight + each.mark(reading.tpot) * (1.0 - weight);
                Score::truncated(marks)
            } else {
                UNMEASURED
            };
        }
    }
}

fn is_measured(reading: &Reading) -> bool {
    reading.ttft > 0.0 && reading.tpot > 0.0
}

#[cfg(test)]
mod tests;
