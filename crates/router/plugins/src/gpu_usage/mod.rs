//! KV cache: prefers engines with room in it.

use fastrand::Rng;
use kthena_router_scheduler::{Candidates, RequestFacts, Score, Scorer};

/// The plugin's name.
pub const NAME: &str = "gpu-usage";

/// The share of the engine's KV cache that is free, in percent. An engine that was never measured is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpuUsage;

impl Scorer for GpuUsage {
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
        for (score, reading) in scores.iter_mut().zip(candidates.readings()) {
            *score = Score::truncated(((1.0 - reading.kv_usage) * 100.0).clamp(0.0, 100.0));
        }
    }
}

#[cfg(test)]
mod tests;
