//! Listens to every engine there is.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join_all;
use kthena_api::model_server::InferenceEngine;
use kthena_kv_events::index::CacheIndex;
use kthena_kv_events::subscriber::{Heard, Source, follow};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::EventSource;
use crate::scrape::{Pod, PodTasks};

/// Follows the events of all pods, those of each rank by themselves, while they are `wanted`. Ends with the sender of
/// either.
pub(super) async fn listen(
    source: &EventSource,
    index: &Arc<CacheIndex>,
    heard: &Arc<Heard>,
    mut pods: watch::Receiver<Option<Arc<[Pod]>>>,
    mut wanted: watch::Receiver<bool>,
) {
    let mut tasks = PodTasks::default();
    let mut told = HashSet::new();
    loop {
        let now = pods.borrow_and_update().clone();
        let now = now.filter(|_| *wanted.borrow_and_update());
        tasks.update(now.as_deref().unwrap_or_default(), |pod| {
            for annotation in &pod.cache_events.faults {
                if told.insert(annotation.clone()) {
                    tracing::warn!(
                        annotation,
                        pod = %pod.endpoint.pod().name,
                        "an annotation of a ModelServer is no number from 1 to 65535 and has no effect"
                    );
                }
            }
            start(source, pod, index, heard)
        });
        let changed = tokio::select! {
            changed = pods.changed() => changed,
            changed = wanted.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn start(
    source: &EventSource,
    pod: &Pod,
    index: &Arc<CacheIndex>,
    heard: &Arc<Heard>,
) -> AbortHandle {
    let ranks = pod.cache_events.ranks.unwrap_or(source.ranks).max(1);
    let following: Vec<_> = (0..ranks)
        .filter_map(|rank| {
            let Some(source) = endpoint(source, rank, pod) else {
                tracing::warn!(
                    rank,
                    "a rank's cache events would be on a port beyond 65535"
                );
                return None;
            };
            let Some(owner) = index.join(pod.endpoint.id().get().into()) else {
                tracing::warn!("an engine's cache events are not followed: there are too many");
                return None;
            };
            Some(follow(source, owner, Arc::clone(heard)))
        })
        .collect();
    tokio::spawn(join_all(following)).abort_handle()
}

/// Where a rank of the engine in `pod` publishes: as its server's annotations say, else as for all.
fn endpoint(source: &EventSource, rank: u16, pod: &Pod) -> Option<Source> {
    let own = &pod.cache_events;
    let address = |port: u16| {
        let port = port.checked_add(rank)?;
        Some(format!("tcp://{}", SocketAddr::new(pod.address.ip(), port)))
    };
    let for_all = match pod.engine {
        InferenceEngine::Vllm => source.topic.as_str(),
        InferenceEngine::Sglang => "",
    };
    Some(Source {
        events: address(own.port.unwrap_or(source.port))?,
        topic: own.topic.as_deref().unwrap_or(for_all).to_owned(),
        replay: own.replay_port.or(source.replay_port).and_then(address),
    })
}

#[cfg(test)]
mod tests;
