//! The server as its users see it: open, take clients, serve a listener, shut down.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    fmt, fs,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use kthena_apiserver_objects::watch_log::LogLimits;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    background,
    database::Storage,
    engine::Engine,
    error::ServerError,
    kubeconfig,
    listen::{self, Endpoint},
    logs::PodLogs,
    seeds,
    service::ApiService,
    tls::Certificates,
};

/// How an [`ApiServer`] is set up.
#[derive(Clone)]
pub struct ApiServerConfig {
    /// The folder that holds the database and the certificates. It is made if it does not exist.
    pub state_dir: PathBuf,
    /// The bearer token that requests over the network must carry.
    pub token: String,
    /// How much history is kept for watches.
    pub history: LogLimits,
}

impl ApiServerConfig {
    /// The usual limits for a state folder and a token.
    pub fn new(state_dir: impl Into<PathBuf>, token: impl Into<String>) -> Self {
        Self {
            state_dir: state_dir.into(),
            token: token.into(),
            history: LogLimits::default(),
        }
    }
}

impl fmt::Debug for ApiServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token stays out of logs.
        f.debug_struct("ApiServerConfig")
            .field("state_dir", &self.state_dir)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// What requests and background tasks share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    /// Cancelled at shutdown; ends watches and background tasks.
    pub(crate) closing: CancellationToken,
    logs: RwLock<Option<Arc<dyn PodLogs>>>,
}

impl Inner {
    /// Where pod logs come from, once a node agent said so.
    pub(crate) fn logs(&self) -> Option<Arc<dyn PodLogs>> {
        self.logs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The present.
    pub(crate) fn now() -> Timestamp {
        Timestamp::now()
    }
}

/// The Kubernetes API in this process. Cloning is cheap; all clones are one server.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
    token: Arc<str>,
    certificates: Certificates,
    tasks: TaskTracker,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Opens the state folder, restores all objects and makes those that must exist from the start.
    ///
    /// A second opener of the same folder gets [`crate::DatabaseError::InUse`].
    pub async fn open(config: ApiServerConfig) -> Result<Self, ServerError> {
        Self::open_on(config, Storage::default()).await
    }

    pub(crate) async fn open_on(
        config: ApiServerConfig,
        storage: Storage,
    ) -> Result<Self, ServerError> {
        let ApiServerConfig {
            state_dir,
            token,
            history,
        } = config;
        fs::create_dir_all(&state_dir).map_err(|cause| ServerError::StateFolder {
            path: state_dir.clone(),
            cause,
        })?;
        let certificates = Certificates::load_or_make(&state_dir.join("tls"))?;
        let database = state_dir.join("objects.redb");
        let engine = tokio::task::spawn_blocking(move || Engine::open(&database, storage, history))
            .await
            .map_err(|error| ServerError::Thread(error.into()))??;
        let inner = Arc::new(Inner {
            engine,
            closing: CancellationToken::new(),
            logs: RwLock::new(None),
        });
        seeds::plant(&inner).await?;
        let tasks = TaskTracker::new();
        background::spawn(&inner, &tasks);
        Ok(Self {
            inner,
            token: token.into(),
            certificates,
            tasks,
        })
    }

    /// A client that calls this server without a socket and needs no token.
    pub fn client(&self) -> kube::Client {
        let service = ApiService::new(Arc::clone(&self.inner));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.respond(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Registers where pod logs come from; the last one registered counts.
    pub fn set_pod_logs(&self, logs: Arc<dyn PodLogs>) {
        *self
            .inner
            .logs
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(logs);
    }

    /// Serves a listener until `shutdown`, with TLS and without, for requests that carry the token.
    ///
    /// Returns when the last connection has ended.
    pub async fn serve(
        &self,
        listener: std::net::TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        listener
            .set_nonblocking(true)
            .map_err(ServerError::Listener)?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(ServerError::Listener)?;
        let endpoint = Endpoint {
            service: ApiService::new(Arc::clone(&self.inner)),
            token: Arc::clone(&self.token),
            tls: TlsAcceptor::from(self.certificates.server_config()?),
        };
        let stop = shutdown.child_token();
        let closing = self.inner.closing.clone();
        let serving = listen::serve(listener, endpoint, stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = closing.cancelled() => {
                stop.cancel();
                serving.await;
            }
        }
        Ok(())
    }

    /// A kubeconfig for kubectl and other programs, given the address that [`ApiServer::serve`] listens on.
    pub fn kubeconfig(&self, address: std::net::SocketAddr) -> String {
        kubeconfig::text(address, &self.certificates.authority, &self.token)
    }

    /// Writes the kubeconfig to `path`, readable by its owner only.
    pub fn write_kubeconfig(
        &self,
        path: &std::path::Path,
        address: std::net::SocketAddr,
    ) -> std::io::Result<()> {
        crate::tls::write_private(path, &self.kubeconfig(address))
    }

    /// Ends watches and background tasks, finishes queued writes and closes the database.
    pub async fn shutdown(&self) {
        self.inner.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.inner.engine.close().await;
    }
}
