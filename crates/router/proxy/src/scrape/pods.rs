//! Which pods there are to talk to, and one task for each of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use kthena_api::model_server::{InferenceEngine, Protocol};
use kthena_router_scheduler::{Candidate, Endpoint, EndpointId};
use kthena_router_view::{CacheEvents, ServerView, Snapshot};
use tokio::task::AbortHandle;

use crate::tls::EngineTls;

/// A pod that engines are watched in.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Where the engine listens.
    pub(crate) address: SocketAddr,
    /// How the engine proves who it is; `None` = it speaks without TLS.
    pub(crate) tls: Option<Arc<EngineTls>>,
    pub(crate) engine: InferenceEngine,
    /// Where the engine tells what it caches.
    pub(crate) cache_events: Arc<CacheEvents>,
}

/// What a pod's task was started with; another one is started when it changes.
type Key = (
    EndpointId,
    SocketAddr,
    bool,
    InferenceEngine,
    Arc<CacheEvents>,
);

/// All pods of `snapshot`, each once, those that speak TLS with `tls`. A pod that several servers reach on different
/// ports is asked on the lowest.
pub(crate) fn pods(snapshot: &Snapshot, tls: &Arc<EngineTls>) -> Vec<Pod> {
    let mut found: HashMap<EndpointId, (&Candidate, &ServerView)> = HashMap::new();
    for server in snapshot.servers() {
        for candidate in server.pods() {
            let this = (candidate, server.as_ref());
            let known = found.entry(candidate.endpoint.id()).or_insert(this);
            if candidate.address < known.0.address {
                *known = this;
            }
        }
    }
    found
        .into_values()
        .map(|(candidate, server)| Pod {
            endpoint: Arc::clone(&candidate.endpoint),
            address: candidate.address,
            tls: (server.protocol == Protocol::Https).then(|| Arc::clone(tls)),
            engine: server.engine,
            cache_events: Arc::clone(&server.cache_events),
        })
        .collect()
}

/// One task per pod. Those of pods that are gone are aborted, as are all when this drops.
#[derive(Debug, Default)]
pub(crate) struct PodTasks(HashMap<Key, AbortHandle>);

impl PodTasks {
    /// Starts tasks for pods that are new and ends those of pods that are gone.
    pub(crate) fn update(&mut self, pods: &[Pod], mut start: impl FnMut(&Pod) -> AbortHandle) {
        let mut before = std::mem::take(&mut self.0);
        let mut fresh = Vec::new();
        for pod in pods {
            let key = (
                pod.endpoint.id(),
                pod.address,
                pod.tls.is_some(),
                pod.engine,
                Arc::clone(&pod.cache_events),
            );
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
