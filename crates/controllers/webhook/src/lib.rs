//! Admission over HTTPS: what a cluster's API server asks before it stores one of our objects.
//!
//! The rules are those of `kthena_api::admission`; this crate puts them behind the paths and the protocol that the
//! installed webhook configurations name, and sees to it that the API server trusts the answer.
//!
//! # Invariants
//!
//! - A webhook that cannot be served is told in the log and tried again. It never ends what runs beside it.
//! - All replicas serve under one authority: the one in the Secret.
//! - A Secret that somebody else made is never changed.
//!
//! # Where to go next
//!
//! `review` answers a request without touching anything, `pair` makes and judges certificates, `secret` keeps them,
//! `inject` tells the API server whom to trust, `server` listens; this module keeps them going.

mod inject;
mod pair;
mod review;
mod secret;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use inject::Configuration;
pub use review::Endpoint;

/// How long one look at certificates and configurations may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a port is tried again that cannot be listened on.
const RETRY: Duration = Duration::from_secs(5);

/// How a webhook server is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What is served.
    pub endpoints: &'static [Endpoint],
    /// The configurations that the API server takes the authority from.
    pub configurations: &'static [Configuration],
    /// Namespace of the Secret and of the service.
    pub namespace: String,
    /// Secret that holds the certificate.
    pub secret: String,
    /// Service in front of this server; certificates are for its names.
    pub service: String,
    /// Certificate file, used when the Secret has none.
    pub certificate: PathBuf,
    /// Private key file that goes with it.
    pub key: PathBuf,
    /// How long reading a request and writing its answer may take.
    pub timeout: Duration,
    /// How often certificates and configurations are looked at.
    pub interval: Duration,
    /// How long open requests may go on after shutdown.
    pub grace: Duration,
}

/// What a server can tell about itself.
#[derive(Debug, Clone)]
pub struct Status {
    serving: watch::Sender<Option<SocketAddr>>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            serving: watch::Sender::new(None),
        }
    }
}

impl Status {
    /// Where requests are answered; `None` while there is no certificate or no port.
    pub fn serving(&self) -> Option<SocketAddr> {
        *self.serving.borrow()
    }

    /// Tells whether requests are answered, now and whenever that changes. Never ends by itself.
    pub async fn follow(&self, tell: impl Fn(bool)) {
        let mut serving = self.serving.subscribe();
        loop {
            tell(serving.borrow_and_update().is_some());
            // The sender lives as long as this status does.
            if serving.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The acceptor of the next handshake; there is none before the first certificate.
type Acceptor = Arc<RwLock<Option<TlsAcceptor>>>;

/// Serves until `shutdown` fires. Whatever goes wrong is told and tried again.
pub async fn run(
    client: Client,
    config: WebhookConfig,
    status: Status,
    shutdown: CancellationToken,
) {
    let acceptor = Acceptor::default();
    let (has_pair, pair_known) = watch::channel(false);
    let keep = keep_trusted(&client, &config, &acceptor, has_pair);
    let serve = listen(&config, &acceptor, pair_known, &status, &shutdown);
    tokio::select! {
        () = keep => {}
        () = serve => {}
    }
    status.serving.send_replace(None);
}

/// Keeps the certificate current and the API server's idea of its authority right, for ever.
async fn keep_trusted(
    client: &Client,
    config: &WebhookConfig,
    acceptor: &Acceptor,
    has_pair: watch::Sender<bool>,
) {
    let mut served = None;
    loop {
        match timeout(PATIENCE, secret::acquire(client, config)).await {
            Ok(Ok(material)) => {
                if served.as_ref() != Some(&material.pair) {
                    match material.pair.acceptor() {
                        Ok(new) => {
                            *acceptor.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
                            has_pair.send_replace(true);
                            tracing::info!("the webhook serves a new certificate");
                            served = Some(material.pair);
                        }
                        Err(error) => {
                            tracing::error!(%error, "the webhook's certificate cannot be used");
                        }
                    }
                }
                if let Some(authority) = &material.authority {
                    let injected = inject::all(client, config.configurations, authority);
                    if timeout(PATIENCE, injected).await.is_err() {
                        tracing::warn!("the webhook configurations do not answer");
                    }
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "no certificate for the webhook"),
            Err(_) => {
                tracing::warn!("no certificate for the webhook: the API server does not answer");
            }
        }
        sleep(config.interval).await;
    }
}

/// Listens once there is a certificate, and again if that ends.
async fn listen(
    config: &WebhookConfig,
    acceptor: &Acceptor,
    mut pair_known: watch::Receiver<bool>,
    status: &Status,
    shutdown: &CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => return,
        known = pair_known.wait_for(|known| *known) => if known.is_err() { return },
    }
    loop {
        match tokio::net::TcpListener::bind(config.listen).await {
            Ok(listener) => {
                status.serving.send_replace(listener.local_addr().ok());
                server::serve(listener, config, acceptor, shutdown).await;
                return;
            }
            Err(error) => {
                tracing::error!(%error, address = %config.listen, "the webhook cannot listen");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(RETRY) => {}
        }
    }
}
