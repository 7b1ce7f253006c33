//! What stands beside an engine in its pod: it says what the engine's cache holds, gives its metrics
//! names that do not depend on the engine, and fetches adapters and models for it.
//!
//! # Invariants
//!
//! - The engine's own metrics pass through as they are; the copies follow their source.
//! - Nothing is written outside the folders that the configuration names.
//! - No failure of the engine or of Redis ends the sidecar.
//!
//! # Where to go next
//!
//! [`rename`] (pure) for the metrics, `server` for the paths, `adapters` and `download` for what they
//! do, `kthena_kv_events::redis` for the cache.

mod adapters;
mod download;
mod models;
pub mod rename;
mod server;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kthena_kv_events::redis::{
    Keys, ListenConfig, RedisAddress, Store, StoreError, Writer, WriterConfig, listen,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages of the engine that may wait for Redis; beyond that they wait in the socket.
const QUEUE: usize = 256;

/// Which engine it stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
}

impl Engine {
    /// The name in keys and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
        }
    }
}

/// An engine nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unsupported engine: {0}. Supported engine: vllm, sglang")]
pub struct UnsupportedEngine(String);

impl std::str::FromStr for Engine {
    type Err = UnsupportedEngine;

    fn from_str(text: &str) -> Result<Self, UnsupportedEngine> {
        match text.to_ascii_lowercase().as_str() {
            "vllm" | "vllmdisaggregated" => Ok(Self::Vllm),
            "sglang" => Ok(Self::Sglang),
            _ => Err(UnsupportedEngine(text.to_owned())),
        }
    }
}

/// Everything a sidecar needs.
#[derive(Debug, Clone)]
pub struct SidecarConfig {
    /// The engine beside it.
    pub engine: Engine,
    /// Where the engine answers, without a slash at the end.
    pub engine_url: String,
    /// Path of its metrics.
    pub metrics_path: String,
    /// `<pod>.<namespace>`; without it the cache is not told of.
    pub pod: String,
    /// The served model; without it the cache is not told of.
    pub model: String,
    /// For each call to the engine.
    pub request_timeout: Duration,
    /// Where the engine's events come from: one per rank, the first is rank 0.
    pub events: Vec<String>,
    /// Their topic; all if empty.
    pub topic: String,
    /// Where they go.
    pub redis: RedisAddress,
    /// Folders that downloads may go to; anywhere if there are none.
    pub download_roots: Vec<PathBuf>,
}

/// Why a sidecar cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The address of Redis makes no sense.
    #[error("the cache cannot be told of")]
    Redis(#[from] StoreError),
    /// The HTTP client could not be made.
    #[error("no HTTP client")]
    Client(#[from] reqwest::Error),
    /// The port was taken away.
    #[error("serving failed")]
    Serve(#[source] std::io::Error),
}

/// Serves on `listener` and follows the engine until `shutdown`.
pub async fn run(
    config: SidecarConfig,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), SidecarError> {
    let following = follow(&config, &shutdown)?;
    let router = server::router(config)?;
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .await;
    shutdown.cancel();
    for task in following {
        // A task that failed has said so, and the sidecar ends either way.
        let _ = task.await;
    }
    served.map_err(SidecarError::Serve)
}

/// Starts what keeps Redis in step with the engine's cache.
fn follow(
    config: &SidecarConfig,
    shutdown: &CancellationToken,
) -> Result<Vec<tokio::task::JoinHandle<()>>, SidecarError> {
    if config.pod.is_empty() || config.model.is_empty() {
        tracing::warn!("without pod and model nobody is told what the cache holds");
        return Ok(Vec::new());
    }
    if config.redis.database != 0 {
        tracing::warn!(
            database = config.redis.database,
            "routers look into database 0 and will not see what is written here"
        );
    }
    let keys = Keys::new(config.engine.name(), &config.model, &config.pod);
    let store = Store::new(&config.redis, keys)?;
    let (heard, messages) = mpsc::channel(QUEUE);
    let writer = Writer::new(WriterConfig::default(), store);
    let mut tasks = vec![tokio::spawn(writer.run(
        messages,
        unix_seconds,
        shutdown.clone(),
    ))];
    for (rank, endpoint) in (0..).zip(&config.events) {
        let source = ListenConfig {
            endpoint: endpoint.clone(),
            topic: config.topic.clone(),
            rank,
        };
        // It ends with the writer, which holds the other end.
        tasks.push(tokio::spawn(listen(source, heard.clone())));
    }
    Ok(tasks)
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
