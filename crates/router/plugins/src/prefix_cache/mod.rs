//! Prompts seen before: prefers endpoints that were sent the same beginning.
//!
//! What an endpoint was sent is noted when the request goes out, so that a burst of equal prompts stays together, and
//! taken back if no answer begins.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use kthena_router_prefix::index::Life;
use kthena_router_prefix::{BlockHasher, Chain, IndexConfig, PrefixIndex, Recorded, root};
use kthena_router_scheduler::{
    Candidates, End, Endpoint, Figure, PluginEvent, Receipt, Recorder, RequestFacts, Score, Scorer,
    highest,
};
use smallvec::SmallVec;

use crate::positions::Positions;

/// The plugin's name.
pub const NAME: &str = "prefix-cache";

/// Settings of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixCacheConfig {
    /// Bytes of a block.
    pub block_bytes: NonZeroUsize,
    /// No more leading blocks than these are looked at.
    pub max_blocks: NonZeroUsize,
    /// Most blocks remembered of one pod.
    pub per_pod: NonZeroUsize,
    /// So many candidates with the longest matches are marked.
    pub top: NonZeroUsize,
    /// Most bytes the index may take.
    pub budget_bytes: usize,
}

/// The share of the prompt's blocks that the endpoint was sent before, in percent.
#[derive(Debug)]
pub struct PrefixCache {
    config: PrefixCacheConfig,
    index: Arc<PrefixIndex>,
}

/// A request's hashes, made once.
pub(crate) struct Hashed {
    pub(crate) root: u64,
    pub(crate) chain: Chain,
}

/// An endpoint, as the index sees it.
struct EndpointLife(Arc<Endpoint>);

struct PrefixReceipt {
    index: Arc<PrefixIndex>,
    /// What to take back if no answer begins.
    recorded: Option<Recorded>,
}

/// Default of the budget for a prefix index, bytes.
pub(crate) const BUDGET_BYTES: usize = 256 << 20;

impl Default for PrefixCacheConfig {
    fn default() -> Self {
        let size = |number: usize| NonZeroUsize::MIN.saturating_add(number - 1);
        Self {
            block_bytes: size(64),
            max_blocks: size(128),
            per_pod: size(50_000),
            top: size(5),
            budget_bytes: BUDGET_BYTES,
        }
    }
}

impl Hashed {
    pub(crate) fn of(
        request: &RequestFacts<'_>,
        block_bytes: NonZeroUsize,
        max_blocks: NonZeroUsize,
    ) -> Self {
        let root = root(request.model);
        let mut hasher = BlockHasher::new(root, block_bytes, max_blocks);
        request.prompt.pieces(&mut |piece| hasher.push(piece));
        Self {
            root,
            chain: hasher.finish(),
        }
    }
}

impl Life for EndpointLife {
    fn is_over(&self) -> bool {
        self.0.is_retired()
    }
}

impl PrefixCache {
    /// A plugin that remembers nothing yet. `seed` makes its tables unpredictable.
    pub fn new(config: PrefixCacheConfig, seed: u64) -> Self {
        let index = IndexConfig {
            per_pod: config.per_pod,
            budget_bytes: config.budget_bytes,
            seed,
        };
        Self {
            config,
            index: Arc::new(PrefixIndex::new(index)),
        }
    }

    fn hashed<R>(&self, request: &RequestFacts<'_>, read: impl FnOnce(&Hashed) -> R) -> R {
        let make = || {
            let PrefixCacheConfig {
                block_bytes,
                max_blocks,
                ..
            } = self.config;
            Hashed::of(request, block_bytes, max_blocks)
        };
        request.notes.with(make, |hashed| read(hashed))
    }
}

impl Scorer for PrefixCache {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score(
        &self,
        request: &RequestFacts<'_>,
        candidates: &Candidates<'_>,
        scores: &mut [Score],
        rng: &mut Rng,
    ) {
        let positions = Positions::new(candidates.readings());
        let mut lengths: SmallVec<[u32; 32]> = SmallVec::from_elem(0, candidates.len());
        let blocks = self.hashed(request, |Hashed { root, chain }| {
            self.index
                .find(*root, chain, |id| positions.of(id), &mut lengths);
            chain.len()
        });
        if blocks == 0 {
            return;
        }
        let total = f64::from(u32::try_from(blocks).unwrap_or(u32::MAX));
        let matched = lengths.iter().copied().zip(0..);
        let longest = highest(
            matched.filter(|(length, _)| *length > 0),
            self.config.top.get(),
            rng,
        );
        let share = |length: u32| f64::from(length) / total;
        for (length, at) in &longest {
            scores[*at as usize] = Score::truncated(share(*length) * 100.0);
        }
        let best = longest.first().map_or(0, |(length, _)| *length);
        request.notes.tell(PluginEvent::PrefixMatch(share(best)));
    }
}

impl Recorder for PrefixCache {
    fn name(&self) -> &'static str {
        NAME
    }

    fn dispatched(
        &self,
        request: &RequestFacts<'_>,
        endpoint: &Arc<Endpoint>,
    ) -> Option<Box<dyn Receipt>> {
        let recorded = self.hashed(request, |Hashed { root, chain }| {
            let life = || -> Box<dyn Life> { Box::new(EndpointLife(Arc::clone(endpoint))) };
            self.index
                .record(request.model, *root, chain, endpoint.id().get(), life)
        })?;
        Some(Box::new(PrefixReceipt {
            index: Arc::clone(&self.index),
            recorded: Some(recorded),
        }))
    }

    fn sweep(&self) {
        self.index.sweep();
    }

    fn figures(&self, tell: &mut dyn FnMut(Figure<'_>)) {
        tell_of(&self.index, tell);
    }
}

/// What an index holds and gave up.
pub(crate) fn tell_of(index: &PrefixIndex, tell: &mut dyn FnMut(Figure<'_>)) {
    tell(Figure::PrefixEntries(index.entries() as u64));
    tell(Figure::PrefixBytes(index.bytes() as u64));
    for evicted in index.evictions() {
        tell(Figure::PrefixEvictions {
            model: &evicted.model,
            count: evicted.count,
        });
    }
}

impl Receipt for PrefixReceipt {
    /// The prompt is computed by now, and cached.
    fn first_token(&mut self, _at: Duration) {
        self.recorded = None;
    }

    fn ended(self: Box<Self>, end: &End) {
        if let (Some(recorded), End::Failed | End::Abandoned) = (&self.recorded, end) {
            self.index.undo(recorded);
        }
    }
}

#[cfg(test)]
mod tests;
