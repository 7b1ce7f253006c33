//! Connections: accepting them, and letting them end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::routes::handle;
use super::{Server, Sockets};
use crate::config::{Dialect, EngineConfig, Role};
use crate::core;
use crate::kv_publisher::Publisher;

/// Why an engine ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address could not be taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The socket for cache events could not be opened.
    #[error("cannot publish cache events at {endpoint}: {reason}")]
    Publish {
        /// The address.
        endpoint: String,
        /// What the socket says.
        reason: String,
    },
    /// It ran out of memory, as a fault told it to. The process should die of it.
    #[error("out of memory")]
    OutOfMemory,
}

impl EngineError {
    /// The exit code of a process that dies of this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen { .. } | Self::Publish { .. } => 1,
            // What the shell reports of a process that the kernel killed for its memory.
            Self::OutOfMemory => 137,
        }
    }
}

/// Starts as a real engine does: the model loads first, and only then the port opens. Runs until
/// `shutdown`.
pub async fn run(config: EngineConfig, shutdown: CancellationToken) -> Result<(), EngineError> {
    let loading = tokio::time::sleep(config.startup);
    if shutdown.run_until_cancelled(loading).await.is_none() {
        return Ok(());
    }
    let address = SocketAddr::new(config.host, config.port);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| EngineError::Listen { address, source })?;
    let config = EngineConfig {
        startup: std::time::Duration::ZERO,
        ..config
    };
    serve(config, listener, shutdown).await
}

/// Serves on `listener` until `shutdown`. While the model loads, everything is answered with 503.
///
/// It returns when every connection has ended: after `shutdown`, open requests have the configured
/// time to finish.
pub async fn serve(
    config: EngineConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), EngineError> {
    let startup = config.startup;
    let drain = config.drain;
    let batch = &config.batch;
    tracing::info!(
        model = config.served_name(),
        dialect = ?config.dialect,
        gpu = batch.model.gpu.name,
        gpus = batch.model.tensor_parallel * batch.model.pipeline_parallel,
        profile = batch.model.model.name,
        cache_blocks = batch.cache.blocks,
        context = batch.max_model_len,
        "engine starts"
    );
    let meeting = meeting_point(&config).await?;
    let publisher = Publisher::open(&config).await?;
    let sockets = Sockets {
        kv_events: publisher.as_ref().map(|open| open.endpoint.clone()),
        kv_events_replay: publisher.as_ref().and_then(|open| open.replay.clone()),
        bootstrap_port: meeting.as_ref().and_then(port_of),
    };
    let engine_stop = CancellationToken::new();
    let events = publisher.map(|open| open.events);
    let (handle, engine) = core::start(config, events, engine_stop.clone());
    let shared = handle.shared.clone();
    let server = Arc::new(Server::new(handle, sockets));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();

    let accepting = async {
        let requests = accept(&listener, &server, &connections, &shutdown, &cut);
        match &meeting {
            Some(meeting) => {
                let halves = accept(meeting, &server, &connections, &shutdown, &cut);
                tokio::join!(requests, halves);
            }
            None => requests.await,
        }
    };
    let ready = async {
        // Even a timer of no length fires a moment later, and a request may be quicker.
        if !startup.is_zero() {
            tokio::time::sleep(startup).await;
        }
        shared.set_ready();
        std::future::pending::<()>().await;
    };
    let died = tokio::select! {
        biased;
        () = ready => false,
        () = accepting => false,
        () = shutdown.cancelled() => false,
        () = shared.death().cancelled() => true,
    };
    drop((listener, meeting));
    connections.close();
    if !died {
        // Past this time open requests are cut off; that is not an error.
        let _ = tokio::time::timeout(drain, connections.wait()).await;
    }
    cut.cancel();
    connections.wait().await;
    engine_stop.cancel();
    if engine.await.is_err() {
        tracing::error!("the batch loop failed");
    }
    if died {
        Err(EngineError::OutOfMemory)
    } else {
        Ok(())
    }
}

/// Where the other halves of requests come to, for engines that have such a place.
async fn meeting_point(config: &EngineConfig) -> Result<Option<TcpListener>, EngineError> {
    if config.dialect != Dialect::Sglang || config.role != Role::Prefill {
        return Ok(None);
    }
    let address = SocketAddr::new(config.host, config.handover.bootstrap_port);
    let listener = TcpListener::bind(address).await;
    listener
        .map(Some)
        .map_err(|source| EngineError::Listen { address, source })
}

fn port_of(listener: &TcpListener) -> Option<u16> {
    Some(listener.local_addr().ok()?.port())
}

async fn accept(
    listener: &TcpListener,
    server: &Arc<Server>,
    connections: &TaskTracker,
    shutdown: &CancellationToken,
    cut: &CancellationToken,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let work = connection(server.clone(), stream, shutdown.clone());
                let cut = cut.clone();
                connections.spawn(async move {
                    cut.run_until_cancelled(work).await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be given back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(server: Arc<Server>, stream: TcpStream, shutdown: CancellationToken) {
    // Tokens are small and must not wait for one another.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no_delay refused");
    }
    let Ok(local) = stream.local_addr() else {
        // Closed before it was looked at.
        return;
    };
    let service = service_fn(move |request| handle(server.clone(), local, request));
    let connection = http1::Builder::new()
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}
