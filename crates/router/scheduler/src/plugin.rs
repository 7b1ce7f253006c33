//! What a scheduling policy is asked.

use crate::endpoint::Candidate;

/// What policies may look at. The client's model name and the size of the prompt are known for every request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Value of the body's `model`.
    pub model: &'a str,
    /// Estimate of the prompt's tokens.
    pub prompt_tokens: u64,
}

/// A mark for one candidate; more is better. Plugins nominally stay within 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(pub i64);

/// A policy: marks every candidate. It holds no request state, counts no metrics and reads no clock.
pub trait Scorer: Send + Sync {
    /// The name users configure it by.
    fn name(&self) -> &'static str;

    /// Writes one mark per candidate; `scores` is as long as `candidates` and zeroed. A mark that is left alone is 0.
    fn score(&self, request: &RequestFacts<'_>, candidates: &[Candidate], scores: &mut [Score]);
}
