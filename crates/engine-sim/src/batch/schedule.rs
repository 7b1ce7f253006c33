//! Forms a batch, and applies it.

use std::sync::Arc;
use std::time::Duration;

use super::request::{After, Phase, Prefill, Request, RequestId};
use super::{Emitted, Engine, Finished, StepOutcome};
use crate::kv_cache::{Filled, KvCache, chain};
use crate::model::StepLoad;

/// What a step is going to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Requests and how many of their tokens are computed.
    pub(super) work: Vec<(RequestId, usize)>,
    /// Adapters of the batch.
    adapters: Vec<Arc<str>>,
    /// Adapters that must be brought into a slot first.
    adapter_loads: u32,
    budget: usize,
    preempted: bool,
}

impl Plan {
    fn add(&mut self, id: RequestId, tokens: usize) {
        self.work.push((id, tokens));
        self.budget -= tokens;
    }
}

impl Engine {
    pub(super) fn schedule(&mut self, now: Duration) -> Plan {
        let mut plan = Plan {
            budget: self.config.max_batched_tokens as usize,
            ..Plan::default()
        };
        self.continue_running(&mut plan);
        // Letting others in right after someone was put out would put out the next.
        if !plan.preempted {
            self.admit_waiting(now, &mut plan);
        }
        plan
    }

    fn continue_running(&mut self, plan: &mut Plan) {
        let mut at = 0;
        while at < self.running.len() && plan.budget > 0 {
            let id = self.running[at];
            let Some(request) = self.requests.get(&id) else {
                at += 1;
                continue;
            };
            let tokens = request.missing().min(plan.budget);
            let needed = blocks_for(request.computed + tokens, self.cache.block_size());
            let fresh = needed.saturating_sub(request.table.len());
            match self.cache.acquire(&[], fresh as u32) {
                Some(blocks) => {
                    self.note_adapter(id, plan);
                    if let Some(request) = self.requests.get_mut(&id) {
                        request.table.extend(blocks);
                        publish_full_blocks(&mut self.cache, request, tokens);
                    }
                    plan.add(id, tokens);
                    at += 1;
                }
                // The last to join makes room; that may be the request itself.
                None => self.preempt_last(plan),
            }
        }
    }

    fn preempt_last(&mut self, plan: &mut Plan) {
        let Some(id) = self.running.pop() else { return };
        plan.preempted = true;
        self.totals.preemptions += 1;
        self.waiting.push_front(id);
        if let Some(request) = self.requests.get_mut(&id) {
            self.cache.release(&request.table);
            request.table.clear();
            request.computed = 0;
            request.published = 0;
            request.preemptions += 1;
            request.phase = Phase::Waiting;
        }
    }

    fn admit_waiting(&mut self, now: Duration, plan: &mut Plan) {
        let mut deferred = Vec::new();
        while plan.budget > 0 && self.running.len() < self.config.max_sequences as usize {
            let Some(id) = self.waiting.pop_front() else {
                break;
            };
            if !self.may_start(id, now, plan) {
                deferred.push(id);
                continue;
            }
            if !self.start(id, now, plan) {
                self.waiting.push_front(id);
                break;
            }
        }
        // Those that could not start keep their place at the front.
        for id in deferred.into_iter().rev() {
            self.waiting.push_front(id);
        }
    }

    /// Whether the adapter has a slot and a transfer is complete.
    fn may_start(&mut self, id: RequestId, now: Duration, plan: &Plan) -> bool {
        let Some(request) = self.requests.get_mut(&id) else {
            return false;
        };
        let arrived = !matches!(request.prefill, Prefill::Remote { ready_at } if ready_at > now);
        let slot = match &request.adapter {
            Some(name) => self.slots.fits(&plan.adapters, name),
            None => true,
        };
        let may = arrived && slot;
        request.phase = if may { Phase::Waiting } else { Phase::Deferred };
        may
    }

    /// Gives a waiting request its blocks and a place in the batch, if there are blocks.
    fn start(&mut self, id: RequestId, now: Duration, plan: &mut Plan) -> bool {
        let Some(request) = self.requests.get_mut(&id) else {
            return true;
        };
        let size = self.cache.block_size();
        // One token at least is computed, or nothing would come out.
        let reusable = (request.tokens.len() - 1) / size as usize;
        let prefix = &request.hashes[..reusable.min(request.hashes.len())];
        let hit = self.cache.cached_prefix(prefix);
        let local = hit * size as usize;
        let computed = match request.prefill {
            Prefill::Remote { .. } if request.preemptions == 0 => request.tokens.len() - 1,
            _ => local,
        };
        let tokens = (request.tokens.len() - computed).min(plan.budget);
        let fresh = blocks_for(computed + tokens, size) - hit;
        let Some(table) = self.cache.acquire(&prefix[..hit], fresh as u32) else {
            return false;
        };
        request.table = table;
        request.computed = computed;
        request.published = hit;
        request.phase = Phase::Running;
        publish_full_blocks(&mut self.cache, request, tokens);
        if request.scheduled.is_none() {
            request.scheduled = Some(now);
            request.cached = computed.min(request.prompt_len);
            self.totals.cache_queries += request.prompt_len as u64;
            self.totals.cache_hits += local as u64;
            self.totals.transferred += (computed - local) as u64;
        }
        self.running.push(id);
        self.note_adapter(id, plan);
        plan.add(id, tokens);
        true
    }

    fn note_adapter(&mut self, id: RequestId, plan: &mut Plan) {
        let request = self.requests.get(&id);
        let Some(name) = request.and_then(|request| request.adapter.clone()) else {
            return;
        };
        if plan.adapters.contains(&name) {
            return;
        }
        if self.slots.touch(&plan.adapters, &name) {
            plan.adapter_loads += 1;
        }
        plan.adapters.push(name);
    }

    /// Runs the planned batch.
    pub(super) fn execute(&mut self, now: Duration, plan: Plan) -> StepOutcome {
        let step = self.step_load(&plan);
        let duration =
            self.config.model.step(&step) + self.config.adapter_load * plan.adapter_loads;
        let mut outcome = StepOutcome {
            duration,
            prompt_tokens: step.prompt_tokens,
            load: self.load(),
            ..StepOutcome::default()
        };
        for (id, tokens) in plan.work {
            self.advance(id, tokens, now + duration, &mut outcome);
        }
        for done in &outcome.finished {
            if let Some(request) = self.requests.remove(&done.id) {
                match request.after {
                    After::Free => self.cache.release(&request.table),
                    After::Keep => {
                        self.kept.insert(done.id, request.table);
                    }
                }
            }
        }
        let requests = &self.requests;
        self.running.retain(|id| requests.contains_key(id));
        outcome.events = self.cache.take_events();
        outcome
    }

    fn step_load(&self, plan: &Plan) -> StepLoad {
        let mut load = StepLoad::default();
        for (id, tokens) in &plan.work {
            let Some(request) = self.requests.get(id) else {
                continue;
            };
            if *tokens == 1 && request.generated() > 0 {
                load.add_decode(request.tokens.len() as u64);
            } else {
                load.add_prompt(request.computed as u64, *tokens as u64);
            }
        }
        load
    }

    /// Books `tokens` computed tokens of a request, which brings its next token when none is left.
    fn advance(&mut self, id: RequestId, tokens: usize, end: Duration, outcome: &mut StepOutcome) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.computed += tokens;
        if request.missing() == 0
            && let Some(token) = request.output.pop()
        {
            request.tokens.push(token);
            let before = request.last_token.replace(end);
            outcome.emitted.push(Emitted {
                id,
                token,
                after: end.saturating_sub(before.unwrap_or(request.arrived)),
                first: before.is_none(),
                cached_tokens: request.cached as u32,
            });
            request.first_token.get_or_insert(end);
        }
        if request.output.is_empty() && request.missing() == 1 {
            outcome.finished.push(account(id, request, end));
        }
    }
}

/// Makes the blocks known that computing `tokens` more fills. That happens before the step runs, so
/// that requests with a common prefix that join in one step compute it once.
fn publish_full_blocks(cache: &mut KvCache, request: &mut Request, tokens: usize) {
    let size = cache.block_size() as usize;
    let full = (request.computed + tokens) / size;
    if full <= request.published {
        return;
    }
    chain(
        &mut request.hashes,
        &request.tokens,
        cache.block_size(),
        request.adapter.as_deref(),
    );
    for at in request.published..full {
        cache.publish(Filled {
            block: request.table[at],
            hash: request.hashes[at],
            parent: at.checked_sub(1).map(|before| request.hashes[before]),
            tokens: &request.tokens[at * size..(at + 1) * size],
            adapter: request.adapter.as_ref(),
        });
    }
    request.published = full;
}

fn account(id: RequestId, request: &Request, end: Duration) -> Finished {
    let scheduled = request.scheduled.unwrap_or(end);
    let first = request.first_token.unwrap_or(end);
    Finished {
        id,
        reason: request.finish,
        prompt_tokens: request.prompt_len as u32,
        cached_tokens: request.cached as u32,
        output_tokens: request.generated() as u32,
        preemptions: request.preemptions,
        queued: scheduled.saturating_sub(request.arrived),
        prefill: first.saturating_sub(scheduled),
        decode: end.saturating_sub(first),
        total: end.saturating_sub(request.arrived),
    }
}

fn blocks_for(tokens: usize, block_size: u32) -> usize {
    tokens.div_ceil(block_size as usize)
}
