//! The life of a router: bind, serve, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kthena_router_view::Snapshot;
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::RouterConfig;
use crate::connection::Service;
use crate::error::ProxyError;
use crate::listener::Listener;
use crate::shared::Shared;
use crate::watch;
use crate::worker::WorkerThread;

/// How often the last connections are looked for.
const CLOSING_TICK: Duration = Duration::from_millis(20);

/// A router whose listeners are bound.
pub struct Router {
    shared: Arc<Shared>,
    config: RouterConfig,
    inference: Listener,
    metrics: Option<Listener>,
}

/// Gives a router its view of the world when no API server does: for tests, benchmarks and simulations.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

impl Publisher {
    /// Requests that begin from now on see `snapshot`. The first one makes the router ready.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.snapshot.store(snapshot);
        self.0.set_synced();
    }
}

impl Router {
    /// Binds all listeners and opens the access log. Connections wait until [`Router::run`].
    #[expect(
        clippy::unused_async,
        reason = "starting is asynchronous for callers, whatever it does today"
    )]
    pub async fn bind(config: RouterConfig) -> Result<Self, ProxyError> {
        let inference = Listener::bind(config.listen)?;
        let metrics = config.metrics_listen.map(Listener::bind).transpose()?;
        Ok(Self {
            shared: Shared::new(&config)?,
            config,
            inference,
            metrics,
        })
    }

    /// Where inference requests are taken.
    pub fn address(&self) -> SocketAddr {
        self.inference.address()
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Listener::address)
    }

    /// A handle to publish snapshots by hand.
    pub fn publisher(&self) -> Publisher {
        Publisher(Arc::clone(&self.shared))
    }

    /// Opens the access log's file again at every call, for when it was rotated away.
    pub fn log_reopener(&self) -> impl Fn() + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || {
            if let Some((_, sink)) = &shared.log {
                sink.reopen();
            }
        }
    }

    /// Serves what `client`'s API server holds until `shutdown`, then drains. Health is answered at once; requests
    /// are once every object is known.
    pub async fn run(self, client: Client, shutdown: CancellationToken) -> Result<(), ProxyError> {
        let following = watch::follow(client, Arc::clone(&self.shared));
        let serving = self.serve(shutdown);
        tokio::pin!(following, serving);
        // The view must stay current while the last requests are served, so only serving ends this.
        tokio::select! {
            () = &mut following => serving.await,
            served = &mut serving => served,
        }
    }

    /// Serves what is [published](Publisher::publish) until `shutdown`, then drains.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ProxyError> {
        let cut = CancellationToken::new();
        let mut workers = (0..self.config.workers.get())
            .map(|index| WorkerThread::start(index, Arc::clone(&self.shared), cut.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ProxyError::Worker)?;
        tracing::info!(address = %self.inference.address(), "taking requests");
        let deadline = {
            let accepting = accept_all(&self.inference, self.metrics.as_ref(), &workers);
            tokio::pin!(accepting);
            tokio::select! {
                failed = &mut accepting => failed.map_err(ProxyError::Worker)?,
                () = shutdown.cancelled() => {}
            }
            self.shared.set_draining();
            let deadline = Instant::now() + self.config.drain_timeout;
            tracing::info!("no longer ready; taking requests a moment longer");
            let lame_duck = self.config.lame_duck.min(self.config.drain_timeout);
            tokio::select! {
                failed = &mut accepting => failed.map_err(ProxyError::Worker)?,
                () = tokio::time::sleep(lame_duck) => {}
            }
            deadline
        };
        drop((self.inference, self.metrics));
        for worker in &mut workers {
            worker.close();
        }
        drain(&workers, deadline, &self.shared).await;
        cut.cancel();
        for worker in workers {
            worker.join();
        }
        Ok(())
    }
}

async fn accept_all(
    inference: &Listener,
    metrics: Option<&Listener>,
    workers: &[WorkerThread],
) -> std::io::Result<()> {
    let hand_over = |service| {
        move |stream| {
            if let Some(worker) = workers.iter().min_by_key(|worker| worker.open()) {
                worker.serve(stream, service);
            }
        }
    };
    match metrics {
        None => inference.accept(hand_over(Service::Inference)).await,
        Some(metrics) => {
            tokio::try_join!(
                inference.accept(hand_over(Service::Inference)),
                metrics.accept(hand_over(Service::Metrics)),
            )?;
            Ok(())
        }
    }
}

/// Waits for the last connections, at most until `deadline`.
async fn drain(workers: &[WorkerThread], deadline: Instant, shared: &Shared) {
    while !workers.iter().all(WorkerThread::is_finished) {
        if Instant::now() >= deadline {
            let left = shared.metrics.active();
            tracing::warn!("Drain timeout exceeded, {left} requests still inflight");
            return;
        }
        tokio::time::sleep(CLOSING_TICK).await;
    }
    tracing::info!("all requests have ended");
}
