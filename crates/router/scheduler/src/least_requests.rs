//! Prefers the endpoint with the fewest requests in flight.

use crate::endpoint::Candidate;
use crate::plugin::{RequestFacts, Score, Scorer};

/// The fewer requests in flight, the higher the mark, without a ceiling: 10,000 and 10,001 still differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequests;

impl Scorer for LeastRequests {
    fn name(&self) -> &'static str {
        "least-request"
    }

    fn score(&self, _request: &RequestFacts<'_>, candidates: &[Candidate], scores: &mut [Score]) {
        for (score, candidate) in scores.iter_mut().zip(candidates) {
            *score = Score(-i64::from(candidate.endpoint.in_flight()));
        }
    }
}
