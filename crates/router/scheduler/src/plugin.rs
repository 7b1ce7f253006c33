//! What a scheduling policy is asked.
//!
//! A plugin holds no request state, counts no metrics and reads no clock. What it tells goes to the request's
//! [`Notes`](crate::Notes).

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::candidates::Candidates;
use crate::endpoint::Endpoint;
use crate::facts::RequestFacts;

/// A mark for one candidate; more is better. Plugins nominally stay within 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(pub i64);

impl Score {
    /// The mark `value`, truncated toward zero; none for what is not a number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "truncation is the rule; values beyond the range saturate"
    )]
    pub fn truncated(value: f64) -> Self {
        Self(value as i64)
    }
}

/// Takes out candidates that must not serve a request.
pub trait Filter: Send + Sync {
    /// The name users configure it by.
    fn name(&self) -> &'static str;

    /// Clears the mark of each candidate that must not serve; `keep` is as long as `candidates` and all true.
    fn filter(&self, request: &RequestFacts<'_>, candidates: &Candidates<'_>, keep: &mut [bool]);
}

/// Marks candidates.
pub trait Scorer: Send + Sync {
    /// The name users configure it by.
    fn name(&self) -> &'static str;

    /// Writes one mark per candidate; `scores` is as long as `candidates` and zeroed. A mark that is left alone is 0.
    fn score(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        rng: &mut Rng,
    );
}

/// Learns from what is dispatched.
pub trait Recorder: Send + Sync {
    /// The name users configure it by.
    fn name(&self) -> &'static str;

    /// The request goes to `endpoint` now. What the receipt hears of it later decides what stays recorded.
    fn dispatched(
        &self,
        request: &RequestFacts<'_>,
        endpoint: &Arc<Endpoint>,
    ) -> Option<Box<dyn Receipt>>;

    /// Frees what was remembered about [retired](Endpoint::is_retired) endpoints.
    fn sweep(&self) {}

    /// What it holds and did, for gauges and counters.
    fn figures(&self, _tell: &mut dyn FnMut(Figure<'_>)) {}
}

/// A recorder's account of one dispatched request.
pub trait Receipt: Send + Sync {
    /// The first byte of the answer's body is here.
    fn first_token(&mut self, at: Duration);

    /// The request is over at this endpoint.
    fn ended(self: Box<Self>, end: &End);
}

/// How a dispatched request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The answer was relayed whole.
    Complete(Outcome),
    /// The engine did not answer, or not with success.
    Failed,
    /// Nobody waited for the end: the client left, or the task was dropped.
    Abandoned,
}

/// What is known at the end of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// When the last byte was there.
    pub at: Duration,
    /// Tokens of the prompt, as the engine counted them.
    pub prompt_tokens: Option<u64>,
    /// Of those, tokens that came from the engine's cache.
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
}

/// Something a recorder holds or did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure<'a> {
    /// Entries of its prefix index: pairs of a block and a pod.
    PrefixEntries(u64),
    /// Bytes of its prefix index.
    PrefixBytes(u64),
    /// Entries of a model evicted for want of room since the start.
    PrefixEvictions {
        /// The client's name of the model.
        model: &'a str,
        /// How many.
        count: u64,
    },
    /// Sum of `adaptive`'s errors since the start: absolute seconds between estimate and outcome.
    EstimateErrorSeconds(f64),
    /// Sum of the outcomes that belong to them, seconds.
    EstimateOutcomeSeconds(f64),
    /// How many there were.
    EstimateCount(u64),
}
