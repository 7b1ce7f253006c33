//! What policies may look at.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::candidates::Candidates;
use crate::notes::Notes;

/// A request as policies see it. Everything is borrowed: facts are put together anew for each decision.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Value of the body's `model`.
    pub model: &'a str,
    /// The name the engine knows what is asked for by: the adapter's for an adapter, else the served model's.
    pub served_model: &'a str,
    /// Whether [`served_model`](Self::served_model) is an adapter.
    pub adapter: bool,
    /// The prompt's text.
    pub prompt: &'a dyn PromptText,
    /// Tokens of the prompt: counted if [`tokens`](Self::tokens) are known, else an estimate.
    pub prompt_tokens: u64,
    /// The prompt's tokens as the engine would see them, if somebody made them.
    pub tokens: Option<&'a [u32]>,
    /// Which blocks of the prompt are cached where, if somebody knows.
    pub kv: Option<&'a dyn KvIndex>,
    /// The session that the client named.
    pub session: Option<&'a str>,
    /// What the endpoint is to do.
    pub role: Role,
    /// The time, on a clock of the process that never goes back.
    pub now: Duration,
    /// What is worked out about this request, from its first decision to its end.
    pub notes: &'a Notes,
}

/// The part of a request that an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// All of it.
    #[default]
    Whole,
    /// The prompt only.
    Prefill,
    /// The answer only; the prompt's KV cache comes from elsewhere.
    Decode,
}

/// A prompt's text, given out in pieces so that it need not exist as one string.
pub trait PromptText {
    /// Gives `take` the text from its beginning, in pieces of any size, until it breaks or nothing is left. A chat
    /// is given as `<|im_start|>ROLE\nCONTENT<|im_end|>\n` for each message. Pieces may cut characters.
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>);
}

/// Nothing, or token ids only.
impl PromptText for () {
    fn pieces(&self, _take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {}
}

impl PromptText for str {
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        let _ = take(self.as_bytes());
    }
}

impl PromptText for &str {
    fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        (**self).pieces(take);
    }
}

/// What engines hold in their KV caches: an index in memory, or what was fetched for this request before.
pub trait KvIndex {
    /// Writes for each candidate how many leading blocks of `query` it holds without a gap; `lengths` is as long as
    /// `candidates` and zeroed. Returns of how many blocks the prompt consists; `None` = nothing can be said.
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        candidates: &Candidates<'_>,
        lengths: &mut [u32],
    ) -> Option<KvBlocks>;
}

/// Whose blocks are asked for.
#[derive(Debug, Clone, Copy)]
pub struct KvQuery<'a> {
    /// The name the engine knows the model or adapter by.
    pub model: &'a str,
    /// Whether `model` is an adapter, whose blocks the base model cannot use.
    pub adapter: bool,
    /// The prompt.
    pub tokens: &'a [u32],
    /// Tokens of a block, unless the index knows better.
    pub block_tokens: u32,
    /// No more leading blocks than these are looked at.
    pub max_blocks: u32,
}

/// The blocks a prompt was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvBlocks {
    /// How many there are.
    pub count: u32,
    /// Tokens of one.
    pub tokens: u32,
}

impl<'a> RequestFacts<'a> {
    /// Facts of a request for `model` without prompt, at time zero. The other fields are set by name.
    pub fn new(model: &'a str, notes: &'a Notes) -> Self {
        Self {
            model,
            served_model: model,
            adapter: false,
            prompt: &(),
            prompt_tokens: 0,
            tokens: None,
            kv: None,
            session: None,
            role: Role::Whole,
            now: Duration::ZERO,
            notes,
        }
    }
}

impl std::fmt::Debug for RequestFacts<'_> {
    /// Neither prompt nor tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestFacts")
            .field("model", &self.model)
            .field("served_model", &self.served_model)
            .field("prompt_tokens", &self.prompt_tokens)
            .field("role", &self.role)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
