//! What Redis knows, as policies ask it.

use std::fmt::Write;

use kthena_kv_events::shared_index::Owned;
use kthena_router_scheduler::{Candidates, KvBlocks, KvIndex, KvQuery};

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
        candidates: &Candidates<'_>,
        lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        if query.adapter || self.owned.blocks() == 0 {
            return None;
        }
        let mut owner = String::new();
        for (length, candidate) in lengths.iter_mut().zip(candidates.iter()) {
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
