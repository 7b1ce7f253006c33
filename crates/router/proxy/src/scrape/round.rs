//! One visit to one pod.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kthena_router_engines::{EngineState, Meter, PageFault, Reading, model_ids};
use kthena_router_scheduler::{Endpoint, ModelSet, Sample};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{Common, EngineFigures, OUTDATED, Pod};
use crate::fetch::{FetchFault, Fetcher};

/// Models change rarely: they are asked for at every so many visits, and whenever the engine may be another.
const VISITS_PER_MODELS: u32 = 3;

/// What came of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// The engine told its state.
    Fresh,
    /// The engine is there but has no metrics that are understood.
    WithoutMetrics,
    /// Nothing came back.
    Failed,
}

/// Goes to one pod again and again.
#[derive(Debug)]
pub(super) struct Visitor {
    common: Arc<Common>,
    endpoint: Arc<Endpoint>,
    fetcher: Fetcher,
    meter: Meter,
    last: Option<Visit>,
    outdated: Option<Outdated>,
    until_models: u32,
}

/// An endpoint whose last measurement is too old counts as such until this drops.
#[derive(Debug)]
struct Outdated(Arc<EngineFigures>);

/// What a visit to `/metrics` brought.
enum Told {
    State,
    Nothing,
    Unreachable,
}

impl Visitor {
    pub(super) fn new(common: Arc<Common>, pod: &Pod) -> Self {
        Self {
            common,
            endpoint: Arc::clone(&pod.endpoint),
            fetcher: Fetcher::new(pod.address, pod.tls.clone()),
            meter: Meter::default(),
            last: None,
            outdated: None,
            until_models: 0,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.common.config.interval
    }

    /// Asks for metrics, and for models if it is time.
    pub(super) async fn visit(&mut self) -> Visit {
        let visit = self.both().await;
        if self.last != Some(visit) {
            tracing::debug!(pod = %self.endpoint.pod().name, ?visit, "an engine is seen differently");
        }
        let figures = &self.common.figures;
        figures.visits.fetch_add(1, Ordering::Relaxed);
        if visit == Visit::Failed {
            figures.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.last = Some(visit);
        self.note_age(visit);
        visit
    }

    /// Takes back what an old measurement says of a queue, once.
    fn note_age(&mut self, visit: Visit) {
        let pod = &self.endpoint.pod().name;
        if visit == Visit::Fresh {
            if self.outdated.take().is_some() {
                tracing::info!(%pod, "the engine tells its state again");
            }
            return;
        }
        let sample = self.endpoint.sample().filter(|_| self.outdated.is_none());
        let age = sample.map(|sample| self.now().saturating_sub(sample.taken_at));
        let Some(age) = age.filter(|age| *age > self.interval() * OUTDATED) else {
            return;
        };
        tracing::warn!(%pod, ?age, "the engine no longer tells its state; what waited there is not known any more");
        self.endpoint.outdate_sample();
        self.outdated = Some(Outdated::count(&self.common.figures));
    }

    async fn both(&mut self) -> Visit {
        let common = Arc::clone(&self.common);
        let dial = permit(&common, self.fetcher.is_connected(), self.last).await;
        let told = self.metrics().await;
        let models = match told {
            Told::Unreachable => false,
            Told::State | Told::Nothing => self.models_if_due().await,
        };
        drop(dial);
        match told {
            Told::State => Visit::Fresh,
            Told::Nothing if models => Visit::WithoutMetrics,
            Told::Nothing | Told::Unreachable => {
                // Whatever comes back may be another engine.
                self.until_models = 0;
                Visit::Failed
            }
        }
    }

    async fn metrics(&mut self) -> Told {
        let page = match self.fetcher.get("/metrics", self.common.config.page).await {
            Ok(page) => page,
            Err(FetchFault::Status(404 | 405 | 501)) => return Told::Nothing,
            Err(_) => return Told::Unreachable,
        };
        match Reading::parse(&page) {
            Ok(reading) => self.take_in(&reading),
            Err(PageFault::Foreign) => return Told::Nothing,
            Err(PageFault::Malformed) => return Told::Unreachable,
        }
        Told::State
    }

    fn take_in(&mut self, reading: &Reading) {
        let restarts = self.meter.state().restarts;
        let block_size = self.meter.state().block_size;
        let state = *self.meter.apply(reading);
        if state.block_size != block_size {
            let mut sizes = self.common.figures.sizes();
            sizes.insert(self.endpoint.id(), state.block_size);
        }
        if state.restarts != restarts {
            self.until_models = 0;
        }
        self.endpoint.set_sample(sample(&state, self.now()));
        if state.blocks > 0 && state.block_size > 0 {
            self.endpoint
                .set_cache_tokens(state.blocks.saturating_mul(u64::from(state.block_size)));
        }
    }

    /// Whether the models are known: asked for now, or not long ago.
    async fn models_if_due(&mut self) -> bool {
        if self.until_models > 0 {
            self.until_models -= 1;
            return true;
        }
        let listing = self
            .fetcher
            .get("/v1/models", self.common.config.models)
            .await;
        let Some(ids) = listing.ok().and_then(|listing| model_ids(&listing).ok()) else {
            return false;
        };
        let models = ModelSet::new(ids);
        if **self.endpoint.models() != models {
            self.endpoint.set_models(models);
        }
        self.until_models = VISITS_PER_MODELS - 1;
        true
    }

    /// Since time zero of all visitors.
    pub(super) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.common.origin)
    }

    /// The moment that is so long after time zero.
    pub(super) fn at(&self, since: Duration) -> Instant {
        self.common.origin + since
    }
}

fn sample(state: &EngineState, taken_at: Duration) -> Sample {
    Sample {
        running: state.running,
        waiting: state.waiting,
        kv_usage: state.usage,
        ttft: state.first_token,
        tpot: state.next_token,
        taken_at,
    }
}

impl Outdated {
    fn count(figures: &Arc<EngineFigures>) -> Self {
        figures.outdated.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(figures))
    }
}

impl Drop for Outdated {
    fn drop(&mut self) {
        self.0.outdated.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leave to open a connection; a visit on one that is open needs none.
async fn permit(
    common: &Common,
    connected: bool,
    last: Option<Visit>,
) -> Option<SemaphorePermit<'_>> {
    let dials: &Semaphore = match last {
        _ if connected => return None,
        Some(Visit::Failed) => &common.doubtful_dials,
        Some(Visit::Fresh | Visit::WithoutMetrics) | None => &common.dials,
    };
    // Nobody closes it.
    dials.acquire().await.ok()
}
