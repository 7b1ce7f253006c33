//! What this router shares with others of its fleet, if it is told where.

use std::collections::HashSet;
use std::sync::Arc;

use kthena_router_scheduler::Endpoint;
use kthena_router_sharing::counts::EndpointSource;
use kthena_router_sharing::{Demand, SharedConsumption, SharedCounts, SharingConfig};
use kthena_router_view::Snapshot;
use tokio_util::sync::CancellationToken;

use crate::error::ProxyError;
use crate::shared::Shared;

/// Settings that were looked at, and what requests tell the tasks.
pub(crate) struct Sharing {
    config: SharingConfig,
    /// Noted by every request that is about to be placed.
    pub(crate) demand: Arc<Demand>,
}

impl Sharing {
    /// Fails if the address makes no sense.
    pub(crate) fn new(config: &SharingConfig) -> Result<Self, ProxyError> {
        // Whether Redis is there does not matter yet; whether there can be such an address does.
        SharedCounts::new(config.clone(), Arc::default(), Box::new(|| None))
            .map_err(ProxyError::Redis)?;
        Ok(Self {
            config: config.clone(),
            demand: Arc::default(),
        })
    }
}

/// Shares until `stop`, then takes this router's counts back from the others.
pub(crate) async fn run(shared: &Arc<Shared>, stop: CancellationToken) {
    let Some(sharing) = &shared.sharing else {
        return;
    };
    let (config, demand) = (sharing.config.clone(), Arc::clone(&sharing.demand));
    let counts = SharedCounts::new(config.clone(), demand, endpoints(Arc::clone(shared)));
    let queues = shared.queues.as_ref();
    let fair = queues.filter(|queues| queues.config().fairness.is_some());
    let consumption = fair.map(|queues| SharedConsumption::new(config, Arc::clone(queues)));
    let counting = async {
        // The address was tried when the settings were taken.
        if let Ok(counts) = counts {
            counts.run(stop.clone()).await;
        }
    };
    let consuming = async {
        if let Some(Ok(consumption)) = consumption {
            consumption.run(stop.clone()).await;
        }
    };
    tokio::join!(counting, consuming);
}

/// The endpoints of every new snapshot, each once.
fn endpoints(shared: Arc<Shared>) -> EndpointSource {
    let mut known: Option<Arc<Snapshot>> = None;
    Box::new(move || {
        let snapshot = shared.snapshot.load_full();
        if known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &snapshot))
        {
            return None;
        }
        let mut seen = HashSet::new();
        let pods = snapshot.servers().flat_map(|server| server.pods());
        let all: Vec<Arc<Endpoint>> = pods
            .map(|pod| &pod.endpoint)
            .filter(|endpoint| seen.insert(endpoint.id()))
            .map(Arc::clone)
            .collect();
        known = Some(snapshot);
        Some(all)
    })
}
