//! The lanes of all endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use kthena_router_scheduler::{Candidate, Candidates, Endpoint, Reading};
use smallvec::SmallVec;

use super::lane::Lane;

/// A lane that requests on their way share.
pub(super) type SharedLane = Arc<Mutex<Lane>>;

/// Lanes by the number of their endpoint.
#[derive(Debug, Default)]
pub(super) struct Lanes(RwLock<HashMap<u32, (Weak<Endpoint>, SharedLane)>>);

impl Lanes {
    /// What `read` makes of each candidate and what is known of it now.
    pub(super) fn views<T>(
        &self,
        candidates: &Candidates<'_>,
        mut read: impl FnMut((&Candidate, &Reading), &Lane) -> T,
    ) -> SmallVec<[T; 4]> {
        let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = Lane::default();
        let each = candidates.iter().zip(candidates.readings());
        let views = each.map(|known| match lanes.get(&known.1.id) {
            Some((_, lane)) => read(known, &lane.lock().unwrap_or_else(PoisonError::into_inner)),
            None => read(known, &unknown),
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
    pub(super) fn clones(&self, candidates: &Candidates<'_>) -> Vec<Lane> {
        let mut clones = Vec::new();
        self.views(candidates, |_, lane| clones.push(lane.clone()));
        clones
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap().len()
    }
}
