//! What engines say about themselves: each pod is asked on a schedule of its own.
//!
//! One task per pod asks for metrics and, less often, for the loaded models, and writes both into the pod's endpoint.
//! All of them run on one small runtime beside the threads that serve requests.
//!
//! # Invariants
//!
//! - A slow or dead pod delays nobody but itself; it is asked ever less often until it answers again.
//! - A failed round leaves what was known; its age shows in the sample. When it is [too old](OUTDATED), nothing is taken
//!   to wait at the engine any more: a queue that nobody sees must not keep requests away from it for ever.
//! - A pod is asked as soon as it is known, and is dispatched to whether or not it has answered.
//! - Only one task writes an endpoint's sample.
//!
//! # Where to go next
//!
//! [`Scraper`] for the life of the whole, `round` for one visit, `pace` for when the next is due. What a page means is
//! in the engines crate.

mod pace;
mod pods;
mod round;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use kthena_router_scheduler::EndpointId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::fetch::FetchLimits;
use pace::Pace;
pub(crate) use pods::{Pod, PodTasks, pods};
use round::{Visit, Visitor};

/// A measurement is too old when so many more should have followed.
const OUTDATED: u32 = 5;

/// How engines are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeConfig {
    /// From one visit of a pod to the next; above zero.
    pub interval: Duration,
    /// Bounds of a page of metrics.
    pub(crate) page: FetchLimits,
    /// Bounds of a list of models.
    pub(crate) models: FetchLimits,
    /// Connections that are opened at the same time.
    pub(crate) dials: NonZeroUsize,
    /// How long the first round may take before the router is called ready without it.
    pub(crate) first_round: Duration,
}

impl ScrapeConfig {
    /// A visit every `interval`, which is above zero, within the usual bounds.
    pub fn every(interval: Duration) -> Self {
        let time = Duration::from_secs(5);
        Self {
            interval,
            page: FetchLimits {
                time,
                body: 8 << 20,
            },
            models: FetchLimits {
                time,
                body: 1 << 20,
            },
            dials: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
            first_round: Duration::from_secs(12),
        }
    }
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

/// What is known of engines beside what their endpoints hold, and what finding it out took.
#[derive(Debug, Default)]
pub(crate) struct EngineFigures {
    visits: AtomicU64,
    failures: AtomicU64,
    /// Endpoints whose last measurement is too old.
    outdated: AtomicU64,
    /// Tokens of a block of the KV cache, where an engine says so.
    block_sizes: RwLock<HashMap<EndpointId, u32>>,
}

impl EngineFigures {
    /// Visits that ended, well or not.
    pub(crate) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// Visits that brought nothing.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Endpoints whose last measurement is too old to go by.
    pub(crate) fn outdated(&self) -> u64 {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Tokens of a block of an engine's KV cache; `None` = it did not say.
    pub(crate) fn block_size(&self, endpoint: EndpointId) -> Option<u32> {
        let sizes = self
            .block_sizes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        sizes.get(&endpoint).copied()
    }

    fn sizes(&self) -> RwLockWriteGuard<'_, HashMap<EndpointId, u32>> {
        self.block_sizes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all visitors share.
#[derive(Debug)]
struct Common {
    config: ScrapeConfig,
    /// Time zero of the clock that samples are dated by.
    origin: Instant,
    /// Connections to pods that are new or answered last time.
    dials: Semaphore,
    /// Connections to pods that failed last time, so that many dead pods cannot hold up the others.
    doubtful_dials: Semaphore,
    figures: Arc<EngineFigures>,
}

/// Asks every pod, for as long as it runs.
pub(crate) struct Scraper {
    common: Arc<Common>,
    tasks: PodTasks,
    /// Held by each visitor until its first visit has ended.
    first_visits: Option<mpsc::Sender<()>>,
}

impl Scraper {
    pub(crate) fn new(config: ScrapeConfig, origin: Instant, figures: Arc<EngineFigures>) -> Self {
        let doubtful = config.dials.get().div_ceil(5);
        let steady = (config.dials.get() - doubtful).max(1);
        Self {
            common: Arc::new(Common {
                config,
                origin,
                dials: Semaphore::new(steady),
                doubtful_dials: Semaphore::new(doubtful),
                figures,
            }),
            tasks: PodTasks::default(),
            first_visits: None,
        }
    }

    /// Follows `pods` until its sender is gone. Calls `first_round` once: when every pod of the first list that is
    /// `Some` was visited, or after the time set for that. Pods that come before then do not count.
    pub(crate) async fn run(
        mut self,
        mut pods: watch::Receiver<Option<Arc<[Pod]>>>,
        first_round: impl FnOnce(),
    ) {
        let (token, mut visited) = mpsc::channel(1);
        self.first_visits = Some(token);
        let limit = self.common.config.first_round;
        let mut deadline = None;
        let mut first_round = Some(first_round);
        loop {
            if let Some(now) = pods.borrow_and_update().clone() {
                self.update(&now);
                // Dropping it leaves only the visitors of this list holding it.
                if self.first_visits.take().is_some() {
                    deadline = Some(Instant::now() + limit);
                }
            }
            let waiting = first_round.is_some() && deadline.is_some();
            tokio::select! {
                changed = pods.changed() => if changed.is_err() { return },
                _ = visited.recv(), if waiting => {
                    if let Some(first_round) = first_round.take() { first_round() }
                }
                () = sleep_until(deadline), if waiting => {
                    tracing::warn!("the first round over the engines takes too long; going on without it");
                    if let Some(first_round) = first_round.take() { first_round() }
                }
            }
        }
    }

    fn update(&mut self, pods: &[Pod]) {
        let known: HashSet<EndpointId> = pods.iter().map(|pod| pod.endpoint.id()).collect();
        self.common
            .figures
            .sizes()
            .retain(|endpoint, _| known.contains(endpoint));
        let (common, token) = (&self.common, &self.first_visits);
        self.tasks.update(pods, |pod| {
            let visitor = Visitor::new(Arc::clone(common), pod);
            tokio::spawn(visit_forever(
                visitor,
                pod.endpoint.id().get().into(),
                token.clone(),
            ))
            .abort_handle()
        });
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Visits a pod until the task is aborted. `seed` spreads the visits of many pods.
async fn visit_forever(mut visitor: Visitor, seed: u64, first: Option<mpsc::Sender<()>>) {
    let mut first = first;
    let mut pace = Pace::new(visitor.interval(), seed);
    loop {
        let visit = visitor.visit().await;
        drop(first.take());
        let due = visitor.now() + pace.after(visit);
        tokio::time::sleep_until(visitor.at(pace.in_step(due))).await;
    }
}

#[cfg(test)]
mod tests;
