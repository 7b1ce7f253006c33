//! Both indexes as policies ask them.

use kthena_kv_events::index::{Asked, CacheIndex};
use kthena_kv_events::shared_index::Owned;
use kthena_router_scheduler::{Candidate, KvBlocks, KvIndex, KvQuery};
use std::fmt::Write;
use std::sync::Arc;

/// The index that the router keeps itself.
pub(super) struct InMemory(pub(super) Arc<CacheIndex>);

impl KvIndex for InMemory {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        candidates: &[&Candidate],
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        let asked = Asked {
            tokens: query.tokens,
            adapter: query.adapter.then_some(query.model),
            max_blocks: query.max_blocks,
        };
        let pods = candidates
            .iter()
            .map(|candidate| u64::from(candidate.endpoint.id().get()));
        let found = self.0.lookup(&asked, &pods, lengths)?;
        Some(KvBlocks {
            count: found.blocks,
            tokens: found.block_size,
        })
    }
}

/// What was read from Redis for one request.
pub(super) struct FromRedis {
    owned: Owned,
    block_size: u32,
}

impl FromRedis {
    pub(super) fn new(owned: Owned, block_size: u32) -> Self {
        Self { owned, block_size }
    }
}

impl KvIndex for FromRedis {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        candidates: &[&Candidate],
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        if query.adapter || self.owned.blocks() == 0 {
            return None;
        }
        let mut owner = String::new();
        for (length, candidate) in lengths.iter_mut().zip(candidates) {
            let pod = candidate.endpoint.pod();
            owner.clear();
            // Writing to a String cannot fail.
            let _ = write!(owner, "{}.{}", pod.name, pod.namespace);
            *length = self.owned.length(&owner, candidate.endpoint.started_unix());
        }
        Some(KvBlocks {
            count: self.owned.blocks(),
            tokens: self.block_size,
        })
    }
}
