//! Decides which requests a step works on: continuous batching with a token budget.
//!
//! [`Engine::step`] forms a batch, says how long it takes and what comes out. Running requests come
//! first, one token each or the next piece of their prompt; waiting ones join while the budget,
//! the number of sequences, adapter slots and cache blocks allow. When blocks run out, the request
//! that joined last is put back and computed again later.
//!
//! Time is an argument and a result; nothing here reads a clock, so a program may run an hour of
//! traffic in a second.
//!
//! # Invariants
//!
//! - Every submitted request ends exactly once: it finishes, or it is aborted.
//! - Tokens of a request come out in order, at most one a step.
//! - A batch never exceeds the budget of tokens or sequences, nor the adapter slots.
//!
//! # Where to go next
//!
//! `schedule` forms batches, [`crate::kv_cache`] owns blocks, [`crate::model`] times steps.

mod adapters;
mod outcome;
mod request;
mod schedule;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use adapters::AdapterSlots;
pub use outcome::{Emitted, Finished, Load, Step, StepOutcome};
pub use request::{After, FinishReason, NewRequest, Prefill, RequestId, SubmitError};
use request::{Phase, Request};

use crate::kv_cache::{BlockId, CacheConfig, KvCache, KvEvent, chain};
use crate::model::StepModel;

#[cfg(test)]
mod calibration;
#[cfg(test)]
mod tests;

/// How an engine forms its batches.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchConfig {
    /// Times the steps.
    pub model: StepModel,
    /// The cache.
    pub cache: CacheConfig,
    /// Most sequences in a batch.
    pub max_sequences: u32,
    /// Most tokens in a batch.
    pub max_batched_tokens: u32,
    /// Longest prompt and answer together, tokens.
    pub max_model_len: u32,
    /// Adapters that can be active at a time.
    pub adapter_slots: u32,
    /// Time to bring an adapter into a slot. The whole batch waits for it.
    pub adapter_load: Duration,
}

/// Running totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Prompt tokens looked up in the prefix cache.
    pub cache_queries: u64,
    /// Prompt tokens found there.
    pub cache_hits: u64,
    /// Prompt tokens that came from another engine.
    pub transferred: u64,
    /// Requests put back because blocks ran out.
    pub preemptions: u64,
}

/// A simulated engine without its surroundings.
#[derive(Debug)]
pub struct Engine {
    config: BatchConfig,
    cache: KvCache,
    requests: HashMap<RequestId, Request>,
    waiting: VecDeque<RequestId>,
    running: Vec<RequestId>,
    /// Blocks of requests that ended and are still being fetched.
    kept: HashMap<RequestId, Vec<BlockId>>,
    slots: AdapterSlots,
    totals: Totals,
}

impl Engine {
    /// An idle engine.
    pub fn new(config: BatchConfig) -> Self {
        Self {
            cache: KvCache::new(config.cache),
            slots: AdapterSlots::new(config.adapter_slots),
            config,
            requests: HashMap::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            kept: HashMap::new(),
            totals: Totals::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// Queues a request.
    pub fn submit(&mut self, new: NewRequest) -> Result<(), SubmitError> {
        let tokens = new.prompt.len() + new.output.len();
        let blocks = tokens.div_ceil(self.cache.block_size() as usize);
        if new.prompt.is_empty() || new.output.is_empty() {
            return Err(SubmitError::Empty);
        }
        if tokens > self.config.max_model_len as usize || blocks > self.cache.capacity() as usize {
            return Err(SubmitError::TooLong { tokens });
        }
        let id = new.id;
        let mut request = Request::new(new);
        let adapter = request.adapter.as_deref();
        chain(
            &mut request.hashes,
            &request.tokens,
            self.cache.block_size(),
            adapter,
        );
        self.requests.insert(id, request);
        self.waiting.push_back(id);
        Ok(())
    }

    /// Takes a request out at whatever point it is. False if it ended before.
    pub fn abort(&mut self, id: RequestId) -> bool {
        let Some(request) = self.requests.remove(&id) else {
            return false;
        };
        self.cache.release(&request.table);
        self.waiting.retain(|&other| other != id);
        self.running.retain(|&other| other != id);
        true
    }

    /// Gives up the blocks of a request that ended with [`After::Keep`]. False if there are none.
    pub fn release(&mut self, id: RequestId) -> bool {
        let table = self.kept.remove(&id);
        if let Some(table) = &table {
            self.cache.release(table);
        }
        table.is_some()
    }

    /// Tokens of a prompt that this engine would not have to compute or fetch.
    pub fn cached_tokens(&self, prompt: &[u32], adapter: Option<&str>) -> u64 {
        let mut hashes = Vec::new();
        let size = self.cache.block_size();
        chain(&mut hashes, prompt, size, adapter);
        self.cache.cached_prefix(&hashes) as u64 * u64::from(size)
    }

    /// Runs one step that starts at `now`.
    pub fn step(&mut self, now: Duration) -> Step {
        let plan = self.schedule(now);
        if plan.work.is_empty() {
            return match self.next_arrival(now) {
                Some(until) => Step::Wait { until },
                None => Step::Idle,
            };
        }
        Step::Ran(Box::new(self.execute(now, plan)))
    }

    /// Whether any request is in the engine.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Queues and cache as they are now.
    pub fn load(&self) -> Load {
        let adapters_of = |ids: &mut dyn Iterator<Item = &RequestId>| {
            let mut names: Vec<Arc<str>> = ids
                .filter_map(|id| self.requests.get(id)?.adapter.clone())
                .collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        Load {
            running: self.running.len() as u32,
            waiting: self.waiting.len() as u32,
            deferred: self.deferred(),
            cache_usage: self.cache.usage(),
            running_adapters: adapters_of(&mut self.running.iter()),
            waiting_adapters: adapters_of(&mut self.waiting.iter()),
        }
    }

    /// Totals since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Forgets all cached prefixes; false while a request uses the cache.
    pub fn reset_cache(&mut self) -> bool {
        self.cache.reset()
    }

    /// Changes of the cache outside a step, such as a reset.
    pub fn take_events(&mut self) -> Vec<KvEvent> {
        self.cache.take_events()
    }

    /// Frees the slot of an adapter that is unloaded.
    pub fn forget_adapter(&mut self, name: &str) {
        self.slots.forget(name);
    }

    fn deferred(&self) -> u32 {
        let held = |id: &&RequestId| {
            let request = self.requests.get(id);
            request.is_some_and(|request| request.phase == Phase::Deferred)
        };
        self.waiting.iter().filter(held).count() as u32
    }

    /// When the first block transfer that a waiting request depends on is complete.
    fn next_arrival(&self, now: Duration) -> Option<Duration> {
        let ready = |id| match self.requests.get(id)?.prefill {
            Prefill::Remote { ready_at } if ready_at > now => Some(ready_at),
            _ => None,
        };
        self.waiting.iter().filter_map(ready).min()
    }
}
