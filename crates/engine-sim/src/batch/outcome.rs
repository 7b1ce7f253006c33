//! What a step brings.

use std::sync::Arc;
use std::time::Duration;

use super::{FinishReason, RequestId};
use crate::kv_cache::KvEvent;

/// What the engine did.
#[derive(Debug)]
pub enum Step {
    /// Nothing: no request is in the engine.
    Idle,
    /// Nothing: all requests wait for something that is there at `until`.
    Wait {
        /// When to step again.
        until: Duration,
    },
    /// It ran a batch.
    Ran(Box<StepOutcome>),
}

/// What one batch brought. Everything in it is visible once `duration` is over.
#[derive(Debug, Clone, Default)]
pub struct StepOutcome {
    /// How long the step took.
    pub duration: Duration,
    /// New tokens, at most one per request.
    pub emitted: Vec<Emitted>,
    /// Requests that ended with this step.
    pub finished: Vec<Finished>,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Queues and cache while the step ran.
    pub load: Load,
    /// What the cache gained and lost.
    pub events: Vec<KvEvent>,
}

/// One new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emitted {
    /// Whose it is.
    pub id: RequestId,
    /// The token.
    pub token: u32,
    /// Time since the request's token before, or since its arrival for the first.
    pub after: Duration,
    /// Whether it is the request's first.
    pub first: bool,
    /// Prompt tokens that came from the prefix cache or from another engine.
    pub cached_tokens: u32,
}

/// A request's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Which request.
    pub id: RequestId,
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Prompt tokens that were not computed here.
    pub cached_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// How often it was put back.
    pub preemptions: u32,
    /// From arrival to the first batch it was in.
    pub queued: Duration,
    /// From there to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
    /// From arrival to the last token.
    pub total: Duration,
}

/// Queues and cache at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Requests in the batch.
    pub running: u32,
    /// Requests that wait, deferred ones included.
    pub waiting: u32,
    /// Of those, the ones that wait for an adapter slot or a transfer.
    pub deferred: u32,
    /// Share of cache blocks in use.
    pub cache_usage: f64,
    /// Adapters of running requests, by name.
    pub running_adapters: Vec<Arc<str>>,
    /// Adapters of waiting requests, by name.
    pub waiting_adapters: Vec<Arc<str>>,
}
