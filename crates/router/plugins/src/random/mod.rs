//! Chance: spreads requests without looking at anything.

use fastrand::Rng;
use kthena_router_scheduler::{Candidates, RequestFacts, Score, Scorer};

/// The plugin's name.
pub const NAME: &str = "random";

/// Draws a mark from 0 to 100 for each endpoint and request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Scorer for Random {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score(
        &self,
        _request: &RequestFacts<'_>,
        _candidates: &Candidates<'_>,
        scores: &mut [Score],
        rng: &mut Rng,
    ) {
        for score in scores {
            *score = Score(rng.i64(0..=100));
        }
    }
}

#[cfg(test)]
mod tests;
