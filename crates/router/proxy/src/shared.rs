//! What all connections of a router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use kthena_router_observability::{LogFormat, LogSink, Metrics};
use kthena_router_pipeline::ErrorStyle;
use kthena_router_scheduler::{LeastRequests, Profile};
use kthena_router_view::Snapshot;

use crate::config::{Limits, RouterConfig};
use crate::error::ProxyError;

/// State of a router that every request may use.
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) profile: Profile,
    pub(crate) metrics: Metrics,
    pub(crate) log: Option<(LogFormat, LogSink)>,
    pub(crate) errors: ErrorStyle,
    pub(crate) limits: Limits,
    pub(crate) expose_metrics: bool,
    pub(crate) explain: bool,
    synced: AtomicBool,
    draining: AtomicBool,
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
        Ok(Arc::new(Self {
            snapshot: ArcSwap::default(),
            profile: Profile::new(vec![(Box::new(LeastRequests), 1)]),
            metrics: Metrics::default(),
            log,
            errors: config.error_style,
            limits: config.limits.clone(),
            expose_metrics: config.expose_metrics,
            explain: config.explain,
            synced: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// Every object that existed at the start is in the snapshot. Does not turn back.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// The router is about to stop: not ready, and connections end with their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// All metric families as text.
    pub(crate) fn exposition(&self) -> String {
        if let Some((_, sink)) = &self.log {
            self.metrics.set_log_dropped(sink.dropped());
        }
        self.metrics.render()
    }
}
