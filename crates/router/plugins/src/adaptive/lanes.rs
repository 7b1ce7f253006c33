//! The lanes of all endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use kthena_router_scheduler::{Candidates, Endpoint};
use smallvec::SmallVec;

use super::lane::Lane;

/// A lane that requests on their way share.
pub(super) type SharedLane = Arc<Mutex<Lane>>;

/// Lanes by the number of their endpoint.
#[derive(Debug, Default)]
pub(super) struct Lanes(RwLock<HashMap<u32, (Weak<Endpoint>, SharedLane)>>);

impl Lanes {
    /// What is known of each candidate now.
    pub(super) fn views(&self, candidates: &Candidates<'_>) -> SmallVec<[Lane; 4]> {
        let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let views = candidates.iter().map(|candidate| {
            let known = lanes.get(&candidate.endpoint.id().get());
            known.map_or_else(Lane::default, |(_, lane)| {
                lane.lock().unwrap_or_else(PoisonError::into_inner).clone()
            })
        });
        views.collect()
    }

    /// The lane of `endpoint`.
    pub(super) fn of(&self, endpoint: &Arc<Endpoint>) -> SharedLane {
        let number = endpoint.id().get();
        let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lane)) = lanes.get(&number) {
            return Arc::clone(lane);
        }
        drop(lanes);
        let mut lanes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (_, lane) = lanes
            .entry(number)
            .or_insert_with(|| (Arc::downgrade(endpoint), SharedLane::default()));
        Arc::clone(lane)
    }

    /// Forgets endpoints that left the table.
    pub(super) fn sweep(&self) {
        let gone =
            |endpoint: &Weak<Endpoint>| endpoint.upgrade().is_none_or(|own| own.is_retired());
        let any = {
            let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
            lanes.values().any(|(endpoint, _)| gone(endpoint))
        };
        if any {
            let mut lanes = self.0.write().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|_, (endpoint, _)| !gone(endpoint));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap().len()
    }
}
