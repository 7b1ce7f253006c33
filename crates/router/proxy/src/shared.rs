//! What all connections of a router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use kthena_api::model_server::Protocol;
use kthena_router_filters::queue::Queues;
use kthena_router_filters::rate::{Assignment, Limits as RateLimits, RateTable};
use kthena_router_filters::sticky::StickyTable;
use kthena_router_health::HealthPolicy;
use kthena_router_observability::{LogFormat, LogSink, Metrics, SchedulingMetrics};
use kthena_router_pipeline::ErrorStyle;
use kthena_router_view::{ServerView, Snapshot};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, RouterConfig};
use crate::error::ProxyError;
use crate::figures;
use crate::kv::KvAware;
use crate::profile_reload::Schedulers;
use crate::queueing;
use crate::scrape::EngineFigures;
use crate::sharing::Sharing;
use crate::tls::EngineTls;

/// State of a router that every request may use.
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// How requests are placed. A request keeps the profile it was placed by.
    pub(crate) schedulers: Schedulers,
    /// Which endpoints are trusted, by how live requests fare.
    pub(crate) health: HealthPolicy,
    /// Zero of the clock that policies use.
    pub(crate) started: Instant,
    /// Which pods sessions are bound to.
    pub(crate) sticky: StickyTable,
    /// How many tokens models may take and give.
    pub(crate) rates: RateTable,
    /// Where requests wait for their turn, if they do.
    pub(crate) queues: Option<Arc<Queues>>,
    /// What is shared with other routers, if anything is.
    pub(crate) sharing: Option<Sharing>,
    pub(crate) metrics: Metrics,
    /// What plugins of the scheduler cost and find.
    pub(crate) plugins: SchedulingMetrics,
    pub(crate) log: Option<(LogFormat, LogSink)>,
    pub(crate) errors: ErrorStyle,
    pub(crate) limits: Limits,
    /// For engines that speak TLS.
    pub(crate) engine_tls: Arc<EngineTls>,
    pub(crate) expose_metrics: bool,
    pub(crate) explain: bool,
    /// What is known of the engines beside their endpoints.
    pub(crate) engines: Arc<EngineFigures>,
    /// Engines are asked for their state.
    pub(crate) scrapes: bool,
    /// What engines hold in their caches, if somebody wants to know.
    pub(crate) kv: Option<Arc<KvAware>>,
    changed: Notify,
    synced: AtomicBool,
    measured: AtomicBool,
    draining: AtomicBool,
    drain: CancellationToken,
}

impl Shared {
    pub(crate) fn new(config: &RouterConfig) -> Result<Arc<Self>, ProxyError> {
        let log = match &config.access_log {
            Some((format, output)) => Some((
                *format,
                LogSink::open(output.clone()).map_err(ProxyError::AccessLog)?,
            )),
            None => None,
        };
        let started = Instant::now();
        let engines = Arc::new(EngineFigures::default());
        let engine_tls = EngineTls::load(config.engine_trust.clone())
            .map(Arc::new)
            .map_err(ProxyError::EngineTls)?;
        Ok(Arc::new(Self {
            snapshot: ArcSwap::default(),
            schedulers: Schedulers::new(config.scheduling.clone()),
            health: HealthPolicy::new(config.health.clone(), started),
            started,
            sticky: StickyTable::new(config.sticky),
            rates: RateTable::default(),
            queues: config
                .queue
                .is_on()
                .then(|| Arc::new(Queues::new(config.queue.clone(), queueing::clock()))),
            sharing: config.sharing.as_ref().map(Sharing::new).transpose()?,
            metrics: Metrics::default(),
            plugins: SchedulingMetrics::default(),
            log,
            errors: config.error_style,
            limits: config.limits.clone(),
            expose_metrics: config.expose_metrics,
            explain: config.explain,
            kv: KvAware::new(
                config.kv.as_ref(),
                Arc::clone(&engines),
                Arc::clone(&engine_tls),
            )?
            .map(Arc::new),
            engine_tls,
            engines,
            scrapes: config.scrape.is_some(),
            changed: Notify::new(),
            synced: AtomicBool::new(false),
            measured: AtomicBool::new(config.scrape.is_none()),
            draining: AtomicBool::new(false),
            drain: CancellationToken::new(),
        }))
    }

    /// How engines of `server` prove who they are; `None` = they speak without TLS.
    pub(crate) fn tls_to(&self, server: &ServerView) -> Option<&Arc<EngineTls>> {
        (server.protocol == Protocol::Https).then_some(&self.engine_tls)
    }

    /// Every object that existed at the start is in the snapshot. Does not turn back.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Requests that begin from now on see `snapshot`.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        if let Some(queues) = &self.queues {
            queues.set_models(snapshot.routes.models());
        }
        if !Arc::ptr_eq(&snapshot.routes, &self.snapshot.load().routes) {
            let limited = snapshot.routes.limited().filter_map(|limited| {
                Some(Assignment {
                    name: Arc::clone(limited.name),
                    bucket: Arc::clone(limited.bucket),
                    limits: RateLimits::of(limited.limit)?,
                })
            });
            self.rates.set(limited, Instant::now());
        }
        self.snapshot.store(snapshot);
        self.changed.notify_one();
    }

    /// Waits for another snapshot, or for the first that is complete. One task may wait.
    pub(crate) fn snapshot_changed(&self) -> impl Future<Output = ()> {
        self.changed.notified()
    }

    /// Every engine was asked for its state once. Does not turn back.
    pub(crate) fn set_measured(&self) {
        self.measured.store(true, Ordering::Relaxed);
    }

    /// Requests should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_synced() && self.measured.load(Ordering::Relaxed) && !self.is_draining()
    }

    /// The router is about to stop: not ready, and connections end with their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.drain.cancel();
    }

    /// Waits until the router is about to stop.
    pub(crate) async fn drain_begun(&self) {
        self.drain.cancelled().await;
    }

    /// All metric families as text. Those of models that no route names any more go with their last request.
    pub(crate) fn exposition(&self) -> String {
        let snapshot = self.snapshot.load_full();
        let known = |model: &str| snapshot.routes.known(model).is_some();
        self.metrics.retain_models(known);
        self.plugins.retain_models(known);
        if let Some((_, sink)) = &self.log {
            self.metrics.set_log_dropped(sink.dropped());
        }
        let mut text = self.metrics.render();
        self.plugins.write(&mut text);
        self.schedulers.figures().write(&mut text);
        figures::of(self).write(&mut text);
        text
    }
}
