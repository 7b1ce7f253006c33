//! Which pods there are to talk to, and one task for each of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use kthena_router_scheduler::{Candidate, Endpoint, EndpointId};
use kthena_router_view::Snapshot;
use tokio::task::AbortHandle;

/// A pod that engines are watched in.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Where the engine listens.
    pub(crate) address: SocketAddr,
}

/// All pods of `snapshot`, each once. A pod that several servers reach on different ports is asked on the lowest.
pub(crate) fn pods(snapshot: &Snapshot) -> Vec<Pod> {
    let mut found: HashMap<EndpointId, &Candidate> = HashMap::new();
    for server in snapshot.servers() {
        for candidate in server.pods() {
            let known = found.entry(candidate.endpoint.id()).or_insert(candidate);
            if candidate.address < known.address {
                *known = candidate;
            }
        }
    }
    found
        .into_values()
        .map(|candidate| Pod {
            endpoint: Arc::clone(&candidate.endpoint),
            address: candidate.address,
        })
        .collect()
}

/// One task per pod. Those of pods that are gone are aborted, as are all when this drops.
#[derive(Debug, Default)]
pub(crate) struct PodTasks(HashMap<(EndpointId, SocketAddr), AbortHandle>);

impl PodTasks {
    /// Starts tasks for pods that are new and ends those of pods that are gone.
    pub(crate) fn update(&mut self, pods: &[Pod], mut start: impl FnMut(&Pod) -> AbortHandle) {
        let mut before = std::mem::take(&mut self.0);
        let mut fresh = Vec::new();
        for pod in pods {
            let key = (pod.endpoint.id(), pod.address);
            match before.remove(&key) {
                Some(task) => drop(self.0.insert(key, task)),
                None => fresh.push((key, pod)),
            }
        }
        // Before others start, so that no endpoint has two.
        before.values().for_each(AbortHandle::abort);
        for (key, pod) in fresh {
            self.0.insert(key, start(pod));
        }
    }
}

impl Drop for PodTasks {
    fn drop(&mut self) {
        self.0.values().for_each(AbortHandle::abort);
    }
}
