//! The least time, as far as it can be foreseen: our own policy.
//!
//! For each endpoint it estimates when a request's first token would come: after the prompts that wait there, as far
//! as they are not cached, at the speed that was seen lately, and after memory is free. To that it adds what the request
//! takes from others: running answers stall while a prompt is computed, every answer slows the ones beside it, and a
//! second copy of a cached prefix pushes something else out. The endpoint with the least sum wins.
//!
//! What is cached where is taken from the index of engines' events if the request brings one, else from what was sent
//! where before. A prompt counts as cached from the moment it is sent, and what is still to be computed of it as
//! pending there, so followers of a long prompt wait for it where it is computed instead of having it computed
//! everywhere, for as long as that is quicker.
//!
//! All speeds are measured on the requests themselves; there is nothing to set and nothing to train.

mod cost;
mod fit;
mod lane;
mod lanes;
mod receipt;

use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError};

use fastrand::Rng;
use kthena_router_prefix::index::Life;
use kthena_router_prefix::{IndexConfig, PrefixIndex};
use kthena_router_scheduler::{
    Candidate, Candidates, Endpoint, Figure, KvQuery, PluginEvent, Receipt, Recorder, RequestFacts,
    Role, Score, Scorer,
};
use smallvec::SmallVec;

use crate::positions::Positions;
use crate::prefix_cache::{BUDGET_BYTES, Hashed};
use cost::{Outlook, Work};
use lanes::Lanes;
use receipt::{LaneReceipt, Learnt};

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
    lanes: Lanes,
    learnt: Arc<Learnt>,
}

/// The prompt's hashes in this plugin's blocks.
struct Prompt(Hashed);

/// An endpoint, of which no more is worth remembering than its engine can hold.
struct CacheLife(Arc<Endpoint>);

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            budget_bytes: BUDGET_BYTES,
        }
    }
}

impl Life for CacheLife {
    fn is_over(&self) -> bool {
        self.0.is_retired()
    }

    fn room(&self) -> Option<usize> {
        let bytes = self.0.cache_tokens()?.saturating_mul(BYTES_PER_TOKEN);
        usize::try_from(bytes).ok().map(|bytes| bytes / BLOCK_BYTES)
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
            lanes: Lanes::default(),
            learnt: Arc::default(),
        }
    }

    /// Which share of the prompt each candidate has cached, 0 to 1.
    fn cached(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
    ) -> SmallVec<[f64; 16]> {
        let mut lengths: SmallVec<[u32; 16]> = SmallVec::from_elem(0, candidates.len());
        if let Some(share) = from_events(request, candidates, &mut lengths) {
            return lengths
                .iter()
                .map(|length| f64::from(*length) * share)
                .collect();
        }
        let blocks = hashed(request, |Hashed { root, chain }| {
            let positions = Positions::new(candidates.readings());
            self.index
                .find(*root, chain, |id| positions.of(id), &mut lengths);
            chain.len()
        });
        let blocks = f64::from(u32::try_from(blocks).unwrap_or(u32::MAX)).max(1.0);
        lengths
            .iter()
            .map(|length| f64::from(*length) / blocks)
            .collect()
    }

    fn outlooks(&self, candidates: &Candidates<'_>) -> SmallVec<[(Outlook, f64); 16]> {
        let lanes = self.lanes.views(candidates);
        let usual = self.learnt.lock().usual.lines();
        let outlooks = lanes
            .iter()
            .zip(candidates.iter())
            .map(|(lane, candidate)| {
                let others = f64::from(candidate.endpoint.measured_elsewhere());
                let mut outlook = Outlook::of(lane, lane.lines(usual), others);
                if let Some(sample) = candidate.endpoint.sample() {
                    outlook.waiting = f64::from(sample.waiting);
                    outlook.kv_usage = sample.kv_usage;
                }
                (outlook, lane.trust.get())
            });
        outlooks.collect()
    }

    /// What the request asks of each candidate.
    fn works(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        outlooks: &[(Outlook, f64)],
    ) -> SmallVec<[Work; 16]> {
        let prompt = tokens(request.prompt_tokens);
        if request.role == Role::Decode {
            let nothing = Work {
                prompt,
                fresh: 0.0,
                copied: 0.0,
            };
            return SmallVec::from_elem(nothing, candidates.len());
        }
        let cached = self.cached(request, candidates);
        let most = cached.iter().copied().fold(0.0, f64::max);
        let works = cached.iter().zip(outlooks).map(|(own, (_, trust))| Work {
            prompt,
            fresh: prompt * (1.0 - own * trust),
            copied: prompt * (most - own),
        });
        works.collect()
    }
}

/// Fills in how many blocks each candidate has according to engines' events; returns the share of one block.
fn from_events(
    request: &RequestFacts<'_>,
    candidates: &Candidates<'_>,
    lengths: &mut [u32],
) -> Option<f64> {
    let query = KvQuery {
        model: request.served_model,
        adapter: request.adapter,
        tokens: request.tokens?,
        block_tokens: 16,
        max_blocks: u32::MAX,
    };
    let blocks = request.kv?.lookup(&query, candidates, lengths)?;
    (blocks.count > 0).then(|| 1.0 / f64::from(blocks.count))
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
        let outlooks = self.outlooks(candidates);
        let works = self.works(request, candidates, &outlooks);
        let costs: SmallVec<[f64; 16]> = outlooks
            .iter()
            .zip(&works)
            .map(|((outlook, _), work)| outlook.total(work))
            .collect();
        let Some(best) = (0..costs.len()).min_by(|a, b| costs[*a].total_cmp(&costs[*b])) else {
            return;
        };
        for (score, cost) in scores.iter_mut().zip(&costs) {
            let worse = (cost - costs[best]).max(0.0);
            *score = Score::truncated(100.0 * HALF_MARK / (HALF_MARK + worse));
        }
        let estimate = outlooks[best].0.first_token(&works[best]);
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
        let outlooks = self.outlooks(&only);
        let works = self.works(request, &only, &outlooks);
        drop(only);
        let ((outlook, _), work) = outlooks.into_iter().zip(works).next()?;
        let estimate = outlook.first_token(&work);
        let recorded = hashed(request, |Hashed { root, chain }| {
            let life = || -> Box<dyn Life> { Box::new(CacheLife(Arc::clone(endpoint))) };
            self.index
                .record(request.model, *root, chain, endpoint.id().get(), life)
        });
        let lane = self.lanes.of(endpoint);
        lane.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .begin(request.now, work.fresh);
        let receipt = LaneReceipt {
            lane,
            learnt: Arc::clone(&self.learnt),
            index: Arc::clone(&self.index),
            recorded,
            work,
            estimate,
            begun: request.now,
            first: None,
        };
        Some(Box::new(receipt))
    }

    fn sweep(&self) {
        self.index.sweep();
        self.lanes.sweep();
    }

    fn figures(&self, tell: &mut dyn FnMut(Figure<'_>)) {
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
