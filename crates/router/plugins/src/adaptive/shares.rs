//! What each endpoint has of a prompt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kthena_router_prefix::index::Life;
use kthena_router_scheduler::{Candidates, Endpoint, KvQuery, RequestFacts};
use smallvec::SmallVec;

use super::{Adaptive, BLOCK_BYTES, BYTES_PER_TOKEN, hashed};
use crate::positions::Positions;
use crate::prefix_cache::Hashed;

/// What an endpoint has of a prompt, as shares of it from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Share {
    /// Cached, or sent there and still to be computed.
    pub(super) held: f64,
    /// Sent there some time ago, whether or not it is still cached.
    pub(super) sent: f64,
}

pub(super) type Shares = SmallVec<[Share; 16]>;

/// An endpoint. As long as what was sent there is all that is known of its cache, no more of that is worth remembering
/// than its engine can hold. Where engines tell themselves, older prompts say where a prefix belongs.
pub(super) struct CacheLife {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) told: Arc<AtomicBool>,
}

impl Life for CacheLife {
    fn is_over(&self) -> bool {
        self.endpoint.is_retired()
    }

    fn room(&self) -> Option<usize> {
        if self.told.load(Ordering::Relaxed) {
            return None;
        }
        let bytes = self
            .endpoint
            .cache_tokens()?
            .saturating_mul(BYTES_PER_TOKEN);
        usize::try_from(bytes).ok().map(|bytes| bytes / BLOCK_BYTES)
    }
}

impl Share {
    /// What counts against copies if nobody holds more than `most`: an endpoint that had a prefix, and lost it, is the
    /// one to get it back, or prefixes would wander and be nowhere for long.
    pub(super) fn kept(self, most: f64) -> f64 {
        if self.sent > most {
            self.sent
        } else {
            self.held
        }
    }
}

/// What each candidate has of the request's prompt.
pub(super) fn of(
    adaptive: &Adaptive,
    request: &RequestFacts<'_>,
    candidates: &Candidates<'_>,
) -> Shares {
    let mut shares = Shares::from_elem(Share::default(), candidates.len());
    let mut lengths: SmallVec<[u32; 16]> = SmallVec::from_elem(0, candidates.len());
    let told = from_events(request, candidates, &mut lengths);
    if let Some(one) = told {
        for (share, length) in shares.iter_mut().zip(&mut lengths) {
            share.held = f64::from(std::mem::take(length)) * one;
        }
    }
    let positions = Positions::new(candidates.readings());
    let one = hashed(request, |Hashed { root, chain }| {
        adaptive
            .index
            .find(*root, chain, |id| positions.of(id), &mut lengths);
        1.0 / f64::from(u32::try_from(chain.len()).unwrap_or(u32::MAX)).max(1.0)
    });
    for (share, length) in shares.iter_mut().zip(&mut lengths) {
        share.sent = f64::from(std::mem::take(length)) * one;
        if told.is_none() {
            share.held = share.sent;
        }
    }
    if told.is_some() {
        hashed(request, |Hashed { chain, .. }| {
            let pending = &adaptive.pending;
            pending.find(chain, |id| positions.of(id), &mut lengths);
        });
        for (share, length) in shares.iter_mut().zip(&lengths) {
            share.held = share.held.max(f64::from(*length) * one);
        }
    }
    shares
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
