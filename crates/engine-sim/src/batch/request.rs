//! A request's life inside the engine.

use std::sync::Arc;
use std::time::Duration;

use crate::kv_cache::{BlockHash, BlockId};

/// Names a request; the submitter chooses it.
pub type RequestId = u64;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FinishReason {
    /// End of text, or a stop text.
    Stop,
    /// The token limit.
    Length,
    /// The client went away.
    Abort,
    /// The engine failed.
    Error,
}

/// Where the keys and values of the prompt come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefill {
    /// This engine computes them, as far as they are not cached.
    Local,
    /// Another engine sends them; they are complete at `ready_at`. The last token is computed here.
    Remote {
        /// The time the transfer is complete.
        ready_at: Duration,
    },
}

/// What becomes of a request's blocks when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum After {
    /// They are free, though their content stays until the room is needed.
    #[default]
    Free,
    /// They stay in use until [`super::Engine::release`], because another engine fetches them.
    Keep,
}

/// A request as it is submitted. What it will answer is known: the simulation is about time.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// Must not be in use.
    pub id: RequestId,
    /// Tokens of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// Tokens of the answer, at least one.
    pub output: Vec<u32>,
    /// How the answer ends.
    pub finish: FinishReason,
    /// The adapter to apply.
    pub adapter: Option<Arc<str>>,
    /// Where the prompt is computed.
    pub prefill: Prefill,
    /// What becomes of the blocks.
    pub after: After,
    /// When the request reached the engine.
    pub arrived: Duration,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Prompt or answer has no token.
    #[error("prompt and answer need at least one token each")]
    Empty,
    /// Prompt and answer exceed the context or the cache.
    #[error("{tokens} tokens are more than the engine can hold")]
    TooLong {
        /// Tokens of prompt and answer.
        tokens: usize,
    },
}

/// Where a request is between submission and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for its turn.
    Waiting,
    /// Waits for something other than its turn: an adapter slot, a transfer.
    Deferred,
    /// Is in the batch.
    Running,
}

#[derive(Debug)]
pub(super) struct Request {
    /// Prompt and the answer so far.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt_len: usize,
    /// The answer to come, last token first.
    pub(super) output: Vec<u32>,
    pub(super) finish: FinishReason,
    pub(super) adapter: Option<Arc<str>>,
    pub(super) prefill: Prefill,
    pub(super) after: After,
    pub(super) phase: Phase,
    /// Tokens whose keys and values are in the cache.
    pub(super) computed: usize,
    pub(super) table: Vec<BlockId>,
    /// Hashes of the full blocks of `tokens`.
    pub(super) hashes: Vec<BlockHash>,
    /// Leading blocks known to the cache by content.
    pub(super) published: usize,
    pub(super) cached: usize,
    pub(super) preemptions: u32,
    pub(super) arrived: Duration,
    pub(super) scheduled: Option<Duration>,
    pub(super) first_token: Option<Duration>,
    pub(super) last_token: Option<Duration>,
}

impl Request {
    pub(super) fn new(new: NewRequest) -> Self {
        let mut output = new.output;
        output.reverse();
        Self {
            prompt_len: new.prompt.len(),
            tokens: new.prompt,
            output,
            finish: new.finish,
            adapter: new.adapter,
            prefill: new.prefill,
            after: new.after,
            phase: Phase::Waiting,
            computed: 0,
            table: Vec::new(),
            hashes: Vec::new(),
            published: 0,
            cached: 0,
            preemptions: 0,
            arrived: new.arrived,
            scheduled: None,
            first_token: None,
            last_token: None,
        }
    }

    /// Tokens that still have to be computed before the next one comes out.
    pub(super) fn missing(&self) -> usize {
        self.tokens.len() - self.computed
    }

    pub(super) fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }
}
