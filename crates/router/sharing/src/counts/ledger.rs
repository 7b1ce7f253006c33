//! What this router has published and must publish, without Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kthena_router_scheduler::Endpoint;

/// Counts of this router by field of the shared hash.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By `namespace/name`.
    tracked: BTreeMap<String, Tracked>,
    /// Pods that are gone and may still be in the shared hash.
    gone: BTreeSet<String>,
}

#[derive(Debug)]
struct Tracked {
    endpoint: Arc<Endpoint>,
    /// What Redis has acknowledged.
    published: u32,
}

/// Fields and the counts they shall have.
pub(super) type Counts = Vec<(String, u32)>;

impl Ledger {
    /// Takes over which endpoints there are. One of the same name as before is another life of the pod: its count
    /// begins anew under the same field.
    pub(super) fn set_endpoints(&mut self, endpoints: Vec<Arc<Endpoint>>) {
        let mut before = std::mem::take(&mut self.tracked);
        for endpoint in endpoints {
            let pod = endpoint.pod();
            let field = format!("{}/{}", pod.namespace, pod.name);
            let mut published = before.remove(&field).map_or(0, |known| known.published);
            if self.gone.remove(&field) {
                // It came back before it was taken out: what it had counts no more, so any count is a change.
                published = u32::MAX;
            }
            let tracked = Tracked {
                endpoint,
                published,
            };
            self.tracked.insert(field, tracked);
        }
        for (field, left) in before {
            left.endpoint.set_elsewhere(0);
            self.gone.insert(field);
        }
    }

    /// Counts that differ from what is published.
    pub(super) fn changes(&self) -> Counts {
        self.counts(|tracked, now| tracked.published != now)
    }

    /// All counts that are not zero.
    pub(super) fn all(&self) -> Counts {
        self.counts(|_, now| now > 0)
    }

    fn counts(&self, wanted: impl Fn(&Tracked, u32) -> bool) -> Counts {
        self.tracked
            .iter()
            .map(|(field, tracked)| (field, tracked, tracked.endpoint.in_flight()))
            .filter(|(_, tracked, now)| wanted(tracked, *now))
            .map(|(field, _, now)| (field.clone(), now))
            .collect()
    }

    /// Redis has taken over `counts`; with `all`, everything else is zero there.
    pub(super) fn confirm(&mut self, counts: &Counts, all: bool) {
        if all {
            for tracked in self.tracked.values_mut() {
                tracked.published = 0;
            }
        }
        for (field, count) in counts {
            if let Some(tracked) = self.tracked.get_mut(field) {
                tracked.published = *count;
            }
        }
    }

    /// Pods that are gone, to be taken out of the shared hash.
    pub(super) fn gone(&self) -> Vec<String> {
        self.gone.iter().cloned().collect()
    }

    /// They were taken out.
    pub(super) fn forget(&mut self, fields: &[String]) {
        for field in fields {
            self.gone.remove(field);
        }
    }

    /// Fields to read, in order.
    pub(super) fn fields(&self) -> Vec<String> {
        self.tracked.keys().cloned().collect()
    }

    /// Takes over what the shared hash says about [`Self::fields`]: all requests but our own. What is no number says
    /// nothing.
    pub(super) fn take_over(&self, fields: &[String], sums: &[Option<i64>]) {
        for (field, sum) in fields.iter().zip(sums) {
            if let (Some(tracked), Some(sum)) = (self.tracked.get(field), sum) {
                let others = sum.saturating_sub(i64::from(tracked.published)).max(0);
                tracked
                    .endpoint
                    .set_elsewhere(u32::try_from(others).unwrap_or(u32::MAX));
            }
        }
    }

    /// Nothing is known of the others.
    pub(super) fn stand_alone(&self) {
        for tracked in self.tracked.values() {
            tracked.endpoint.set_elsewhere(0);
        }
    }
}

#[cfg(test)]
mod tests;
