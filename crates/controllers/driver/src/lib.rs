//! Runs the planners against a Kubernetes API server.
//!
//! Watches fill caches, changes put keys on a queue, and a worker takes a key, builds the view, asks the planner
//! and carries out its plan. The cluster is the memory: killing this program loses nothing that matters.
//!
//! # Invariants
//!
//! - No API call is made while an event is taken in, and no lock is held across one.
//! - One key is worked on by one worker.
//! - A plan is made only once the caches show what the plan before it did, so a lagging watch cannot make it
//!   create or delete twice.
//! - A pass over a settled object writes nothing.
//!
//! # Where to go next
//!
//! `controller` is the loop, `observe` says what is read of each object, `caches` finds what belongs to a
//! `ModelServing`, `pass` is one turn for one key, `apply` carries out actions. `sets` serves `LeaderWorkerSet`s.

mod apply;
mod caches;
mod controller;
mod debug;
mod expect;
mod gangs;
mod kinds;
mod metrics;
mod observe;
mod pace;
mod pass;
mod publish;
mod sets;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use kthena_cluster::lease::{self, LeaseConfig, LeaseError};
use kube::Client;
use tokio_util::sync::CancellationToken;

pub use kthena_controllers_leader_worker_set::LeaderWorkerSet;
pub use metrics::{Metrics, WriteLabel};

/// How the controllers run.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Keys worked on at the same time.
    pub workers: NonZeroUsize,
    /// Requests that one worker has open at the same time.
    pub parallel_writes: NonZeroUsize,
    /// How long changes of pods are gathered before their `ModelServing` is looked at.
    pub gather: Duration,
    /// Work only while holding this lease; absent = always.
    pub leader_election: Option<LeaseConfig>,
    /// Where to answer questions about the controller's state; absent = nowhere.
    pub debug_listen: Option<SocketAddr>,
    /// Look after one namespace only; absent = all.
    pub namespace: Option<String>,
    /// Serve `LeaderWorkerSet`s too, whenever the cluster has the kind.
    pub leader_worker_sets: bool,
    /// Name of this host, for events.
    pub host: String,
    /// Counters to fill.
    pub metrics: Metrics,
}

impl Default for DriverConfig {
    fn default() -> Self {
        const FIVE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);
        Self {
            workers: FIVE,
            parallel_writes: NonZeroUsize::MIN.saturating_add(7),
            gather: Duration::from_millis(50),
            leader_election: None,
            debug_listen: None,
            namespace: None,
            leader_worker_sets: true,
            host: String::new(),
            metrics: Metrics::default(),
        }
    }
}

/// Why the controllers stopped although nobody asked them to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Another replica works now.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The debug address cannot be used.
    #[error("cannot listen on {address} for debugging: {source}")]
    DebugListen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part of the controller panicked.
    #[error("a task of the controller ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
}

/// Runs the `ModelServing` controller until `shutdown` fires; ends when everything it started has ended.
pub async fn run(
    client: Client,
    config: DriverConfig,
    shutdown: CancellationToken,
) -> Result<(), DriverError> {
    let Some(lease) = config.leader_election.clone() else {
        return controller::run(client, &config, shutdown).await;
    };
    let work = {
        let client = client.clone();
        let config = &config;
        move |stop| controller::run(client, config, stop)
    };
    lease::lead(client, &lease, &shutdown, work)
        .await?
        .unwrap_or(Ok(()))
}
