//! Listens to every engine there is.

use std::net::SocketAddr;
use std::sync::Arc;

use kthena_kv_events::index::CacheIndex;
use kthena_kv_events::subscriber::{Heard, Source, follow};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::KvSource;
use crate::scrape::{Pod, PodTasks};

/// Follows the events of all pods, those of each rank by themselves. Ends with the sender of `pods`.
pub(super) async fn listen(
    source: &KvSource,
    index: &Arc<CacheIndex>,
    heard: &Arc<Heard>,
    mut pods: watch::Receiver<Option<Arc<[Pod]>>>,
) {
    let KvSource::Events { ranks, .. } = source else {
        return;
    };
    let mut tasks: Vec<PodTasks> = (0..(*ranks).max(1)).map(|_| PodTasks::default()).collect();
    loop {
        let now = pods.borrow_and_update().clone();
        for (rank, tasks) in (0..).zip(&mut tasks) {
            tasks.update(now.as_deref().unwrap_or_default(), |pod| {
                start(source, rank, pod, index, heard)
            });
        }
        if pods.changed().await.is_err() {
            return;
        }
    }
}

fn start(
    source: &KvSource,
    rank: u16,
    pod: &Pod,
    index: &Arc<CacheIndex>,
    heard: &Arc<Heard>,
) -> AbortHandle {
    let owner = index.join(pod.endpoint.id().get().into());
    let source = endpoint(source, rank, pod);
    let heard = Arc::clone(heard);
    tokio::spawn(async move {
        if let Some((owner, source)) = owner.zip(source) {
            follow(source, owner, heard).await;
        } else {
            tracing::warn!("an engine's cache events are not followed: there are too many");
        }
    })
    .abort_handle()
}

/// Where a rank of the engine in `pod` publishes.
fn endpoint(source: &KvSource, rank: u16, pod: &Pod) -> Option<Source> {
    let KvSource::Events {
        port,
        topic,
        replay_port,
        ..
    } = source
    else {
        return None;
    };
    let address = |port: u16| {
        let port = port.checked_add(rank)?;
        Some(format!("tcp://{}", SocketAddr::new(pod.address.ip(), port)))
    };
    Some(Source {
        events: address(*port)?,
        topic: topic.clone(),
        replay: replay_port.and_then(address),
    })
}
