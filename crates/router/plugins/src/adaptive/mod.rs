//! The least time, as far as it can be foreseen: our own policy.
//!
//! For each endpoint it estimates when a request's first token would come: after the step that the engine is in, after
//! what is left of the prompts that wait there, as far as they are not cached, at the speed that was seen lately, after
//! the adapter is there and after memory is free. To that it adds what the request takes from others: they stall while
//! its prompt is computed, every answer slows the ones beside it, and a second copy of a cached prefix pushes something
//! else out, which counts as far as what was pushed out lately had to be computed again. The endpoint with the least
//! sum wins.
//!
//! What is cached where is taken from the index of engines' events if the request brings one, else from what was sent
//! where before. A prompt counts as cached from the moment it is sent, and what is still to be computed of it as
//! pending there, so followers of a long prompt wait for it where it is computed instead of having it computed
//! everywhere, for as long as that is quicker. A prefix that nobody has any more goes back to where it was.
//!
//! All speeds are measured on the requests themselves; there is nothing to set and nothing to train. `cost` is the sum,
//! `shares` what is cached where, `lane` and `receipt` learn.

mod adapters;
mod cost;
mod fit;
mod lane;
mod lanes;
mod losses;
mod pending;
mod receipt;
mod shares;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use fastrand::Rng;
use kthena_router_prefix::index::Life;
use kthena_router_prefix::{IndexConfig, PrefixIndex, root};
use kthena_router_scheduler::{
    Candidate, Candidates, Endpoint, Figure, PluginEvent, Receipt, Recorder, RequestFacts, Role,
    Score, Scorer,
};
use smallvec::SmallVec;

use crate::prefix_cache::{BUDGET_BYTES, Hashed, tell_of};
use adapters::Asked;
use cost::{Outlook, Work};
use lanes::Lanes;
use pending::Pending;
use receipt::{LaneReceipt, Learnt};
use shares::CacheLife;

/// The plugin's name.
pub const NAME: &str = "adaptive";

/// Bytes of a block of a prompt's text; about 64 tokens.
const BLOCK_BYTES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Blocks of a prompt that are looked at: 128 KiB of text.
const MAX_BLOCKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);
/// Blocks remembered of a pod whose cache size is unknown.
const PER_POD: NonZeroUsize = NonZeroUsize::MIN.saturating_add(49_999);
/// Text that makes a token, bytes; only to relate the size of an engine's cache to blocks of text.
const BYTES_PER_TOKEN: u64 = 4;
/// Seconds by which an endpoint is worse that halve its mark.
const HALF_MARK: f64 = 0.05;

/// Settings of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveConfig {
    /// Most bytes the index of what was sent where may take.
    pub budget_bytes: usize,
}

/// Marks the endpoint with the least total cost with 100, the others by how many seconds they are worse.
#[derive(Debug)]
pub struct Adaptive {
    index: Arc<PrefixIndex>,
    pending: Arc<Pending>,
    /// Whether requests bring what engines say they hold.
    told: Arc<AtomicBool>,
    lanes: Lanes,
    learnt: Arc<Learnt>,
}

/// The prompt's hashes in this plugin's blocks.
struct Prompt(Hashed);

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            budget_bytes: BUDGET_BYTES,
        }
    }
}

impl Adaptive {
    /// A plugin that knows nothing yet. `seed` makes its tables unpredictable.
    pub fn new(config: AdaptiveConfig, seed: u64) -> Self {
        let index = IndexConfig {
            per_pod: PER_POD,
            budget_bytes: config.budget_bytes,
            seed,
        };
        Self {
            index: Arc::new(PrefixIndex::new(index)),
            pending: Arc::default(),
            told: Arc::default(),
            lanes: Lanes::default(),
            learnt: Arc::default(),
        }
    }

    fn outlooks(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
    ) -> SmallVec<[Outlook; 4]> {
        let (usual, again) = {
            let lessons = self.learnt.lock();
            (lessons.usual.lines(), lessons.losses.again())
        };
        let now = request.now.as_secs_f64();
        let adapter = adapter(request);
        self.lanes.views(candidates, |(candidate, reading), lane| {
            let endpoint = &candidate.endpoint;
            let others = f64::from(endpoint.measured_elsewhere());
            let mut outlook = Outlook::of(lane, &usual, reading, (others, now));
            outlook.again = again;
            if outlook.is_tight() {
                outlook.cache = tokens(endpoint.cache_tokens().unwrap_or(0));
            }
            if let Some(beside) = adapter.and_then(|name| lane.adapters.beside(name)) {
                outlook.adapter = usual.adapter(beside);
            }
            outlook
        })
    }

    /// What the request asks of each candidate.
    fn works(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        outlooks: &[Outlook],
    ) -> SmallVec<[Work; 16]> {
        let prompt = tokens(request.prompt_tokens);
        if request.role == Role::Decode {
            let nothing = Work {
                prompt,
                fresh: 0.0,
                copied: 0.0,
                sent: 0.0,
            };
            return SmallVec::from_elem(nothing, candidates.len());
        }
        let shares = shares::of(self, request, candidates);
        let most = shares.iter().map(|share| share.held).fold(0.0, f64::max);
        let kept = shares.iter().map(|share| share.kept(most));
        let best = kept.fold(0.0, f64::max);
        let works = shares.iter().zip(outlooks).map(|(share, outlook)| Work {
            prompt,
            fresh: prompt * (1.0 - share.held * outlook.trust),
            copied: prompt * (best - share.kept(most)),
            sent: prompt * share.held.max(share.sent),
        });
        works.collect()
    }
}

/// The adapter that is asked for.
fn adapter(request: &RequestFacts<'_>) -> Option<u64> {
    request.adapter.then(|| root(request.served_model))
}

fn hashed<R>(request: &RequestFacts<'_>, read: impl FnOnce(&Hashed) -> R) -> R {
    let make = || Prompt(Hashed::of(request, BLOCK_BYTES, MAX_BLOCKS));
    request.notes.with(make, |prompt| read(&prompt.0))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "prompts are far below 2^52 tokens"
)]
fn tokens(count: u64) -> f64 {
    count as f64
}

impl Scorer for Adaptive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        _rng: &mut Rng,
    ) {
        let outlooks = self.outlooks(request, candidates);
        let works = self.works(request, candidates, &outlooks);
        let costs: SmallVec<[f64; 16]> = outlooks
            .iter()
            .zip(&works)
            .map(|(outlook, work)| outlook.total(work))
            .collect();
        let Some(best) = (0..costs.len()).min_by(|a, b| costs[*a].total_cmp(&costs[*b])) else {
            return;
        };
        for (score, cost) in scores.iter_mut().zip(&costs) {
            let worse = (cost - costs[best]).max(0.0);
            *score = Score::truncated(100.0 * HALF_MARK / (HALF_MARK + worse));
        }
        let estimate = outlooks[best].first_token(&works[best]);
        request.notes.tell(PluginEvent::Estimate(estimate));
    }
}

impl Recorder for Adaptive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dispatched(
        &self,
        request: &RequestFacts<'_>,
        endpoint: &Arc<Endpoint>,
    ) -> Option<Box<dyn Receipt>> {
        let address = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let only = Candidate {
            endpoint: Arc::clone(endpoint),
            address,
        };
        let only = Candidates::all(std::slice::from_ref(&only));
        let outlooks = self.outlooks(request, &only);
        let works = self.works(request, &only, &outlooks);
        drop(only);
        let (outlook, work) = outlooks.into_iter().zip(works).next()?;
        let told = request.kv.is_some() && request.tokens.is_some();
        if self.told.load(Ordering::Relaxed) != told {
            self.told.store(told, Ordering::Relaxed);
        }
        let number = endpoint.id().get();
        let (recorded, marks) = hashed(request, |Hashed { root, chain }| {
            let life = || -> Box<dyn Life> {
                Box::new(CacheLife {
                    endpoint: Arc::clone(endpoint),
                    told: Arc::clone(&self.told),
                })
            };
            let recorded = self.index.record(request.model, *root, chain, number, life);
            (recorded, told.then(|| self.pending.add(chain, number)))
        });
        let lane = self.lanes.of(endpoint);
        let asked = {
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.begin(request.now, work.fresh);
            adapter(request).map(|name| {
                let beside = lane.adapters.beside(name);
                lane.adapters.enter(name);
                Asked { name, beside }
            })
        };
        let receipt = LaneReceipt {
            lane,
            learnt: Arc::clone(&self.learnt),
            index: Arc::clone(&self.index),
            recorded,
            work,
            estimate: outlook.first_token(&work),
            begun: request.now,
            first: None,
            asked,
            adapter: outlook.adapter,
            endpoint: number,
            pending: Arc::clone(&self.pending),
            marks: marks.unwrap_or_default(),
        };
        Some(Box::new(receipt))
    }

    fn sweep(&self) {
        self.index.sweep();
        self.lanes.sweep();
    }

    fn figures(&self, tell: &mut dyn FnMut(Figure<'_>)) {
        tell_of(&self.index, tell);
        let errors = self.learnt.lock().errors;
        tell(Figure::EstimateErrorSeconds(errors.absolute));
        tell(Figure::EstimateOutcomeSeconds(errors.outcome));
        tell(Figure::EstimateCount(errors.count));
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
