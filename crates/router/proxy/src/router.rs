//! The life of a router: bind, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kthena_router_scheduler::Profile;
use kthena_router_view::Snapshot;
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::background::Background;
use crate::config::RouterConfig;
use crate::connection::{Refusal, Service};
use crate::error::ProxyError;
use crate::listener::{Listener, Room};
use crate::shared::Shared;
use crate::tls::Tls;
use crate::watch;
use crate::worker::{Arrival, WorkerThread};

/// How often the last connections are looked for.
const CLOSING_TICK: Duration = Duration::from_millis(20);

/// A router whose listeners are bound.
pub struct Router {
    shared: Arc<Shared>,
    config: RouterConfig,
    inference: Listener,
    metrics: Option<Listener>,
    debug: Option<Listener>,
    tls: Option<Tls>,
}

/// Gives a router its view of the world when no API server does: for tests, benchmarks and simulations.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

impl Publisher {
    /// Requests that begin from now on see `snapshot`. The first one makes the router ready.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.publish(snapshot);
        self.0.set_synced();
    }

    /// Requests that are placed from now on are placed by `profile`.
    pub fn place_by(&self, profile: Profile) {
        self.0.schedulers.place_by(profile);
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
        let debug = config.debug_listen.map(Listener::bind).transpose()?;
        let tls = config.tls.clone().map(Tls::load).transpose()?;
        Ok(Self {
            shared: Shared::new(&config)?,
            config,
            inference,
            metrics,
            debug,
            tls,
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

    /// Where an operator may look inside.
    pub fn debug_address(&self) -> Option<SocketAddr> {
        self.debug.as_ref().map(Listener::address)
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

    /// Sets the metric of an admission webhook that runs beside this router.
    pub fn webhook_gauge(&self) -> impl Fn(bool) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |is_up| shared.metrics.set_webhook_up(is_up)
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
        let workers = (0..self.config.workers.get())
            .map(|index| WorkerThread::start(index, Arc::clone(&self.shared), cut.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ProxyError::Worker)?;
        let background = Background::start(Arc::clone(&self.shared), self.config.scrape.clone())
            .map_err(ProxyError::Worker)?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        tracing::info!(address = %self.inference.address(), scheme, "taking requests");
        let served = self.until_drained(&workers, shutdown).await;
        drop(background);
        cut.cancel();
        for worker in workers {
            worker.join();
        }
        served
    }

    /// Accepts to the very end, so that nobody meets a closed door: first for requests, then to refuse them.
    async fn until_drained(
        &self,
        workers: &[WorkerThread],
        shutdown: CancellationToken,
    ) -> Result<(), ProxyError> {
        let refusing = AtomicBool::new(false);
        let accepting = self.accept(workers, &refusing);
        let leaving = async {
            shutdown.cancelled().await;
            self.shared.set_draining();
            let deadline = Instant::now() + self.config.drain_timeout;
            tracing::info!("no longer ready; taking requests a moment longer");
            tokio::time::sleep(self.config.lame_duck.min(self.config.drain_timeout)).await;
            refusing.store(true, Ordering::Relaxed);
            workers.iter().for_each(WorkerThread::close);
            drain(workers, deadline, &self.shared).await;
        };
        tokio::select! {
            failed = accepting => failed.map_err(ProxyError::Worker),
            () = leaving => Ok(()),
        }
    }

    async fn accept(&self, workers: &[WorkerThread], refusing: &AtomicBool) -> io::Result<()> {
        let hand_over = |stream, service, tls| {
            let alive = workers.iter().filter(|worker| !worker.has_ended());
            if let Some(worker) = alive.min_by_key(|worker| worker.open()) {
                worker.serve(Arrival {
                    stream,
                    service,
                    tls,
                });
            }
        };
        let inference = self.inference.accept(|stream, room| {
            let service = match room {
                _ if refusing.load(Ordering::Relaxed) => Service::Refusal(Refusal::Draining),
                Room::Scarce => Service::Refusal(Refusal::Overloaded),
                Room::Enough => Service::Inference,
            };
            hand_over(stream, service, self.tls.as_ref().map(Tls::acceptor));
        });
        let other = async |listener: Option<&Listener>, service| match listener {
            Some(listener) => {
                listener
                    .accept(|stream, _| hand_over(stream, service, None))
                    .await
            }
            None => std::future::pending().await,
        };
        let reloading = async {
            let own = async {
                match &self.tls {
                    Some(tls) => tls.follow().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(own, self.shared.engine_tls.follow());
            Ok(())
        };
        tokio::try_join!(
            inference,
            other(self.metrics.as_ref(), Service::Metrics),
            other(self.debug.as_ref(), Service::Debug),
            reloading,
        )?;
        Ok(())
    }
}

/// Waits for the last connections, at most until `deadline`.
async fn drain(workers: &[WorkerThread], deadline: Instant, shared: &Shared) {
    while !workers.iter().all(WorkerThread::is_done) {
        if Instant::now() >= deadline {
            let left = shared.metrics.active();
            tracing::warn!("Drain timeout exceeded, {left} requests still inflight");
            return;
        }
        tokio::time::sleep(CLOSING_TICK).await;
    }
    tracing::info!("all requests have ended");
}
