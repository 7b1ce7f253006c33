//! What sidecars wrote to Redis about their engines, read for one prompt at a time.
//!
//! The layout is the one the sidecars' side has: a hash per block of tokens, with a field per owner that holds the
//! second of the last announcement. A request costs one pipeline and at most [`ReaderConfig::budget`] of its time;
//! once Redis fails, requests do without until a probe in the background has found it well again.
//!
//! # Invariants
//!
//! - [`SharedIndex::owners`] never takes longer than the budget, and no time at all while Redis is known to be down.
//! - Nothing is written but the removal of fields nobody refreshed for a day.
//!
//! # Where to go next
//!
//! [`SharedIndex::keep_up`] for what must run in the background, [`Owned`] for what a request makes of the answer,
//! `sweep` for the removal.

mod owned;
mod sweep;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use owned::Owned;

use crate::block_hash::lone_hash;
use crate::redis::RedisAddress;

/// Begin of the names of all blocks.
const BLOCKS: &str = "matrix:kv:block:";
/// How long connecting may take in the background.
const CONNECT: Duration = Duration::from_secs(2);
/// First and longest wait before Redis is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Late answers in a row before Redis counts as down.
const LATE: u32 = 2;

/// How Redis is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderConfig {
    /// What a request may wait.
    pub budget: Duration,
    /// From one removal of stale fields to the next.
    pub sweep_interval: Duration,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            sweep_interval: Duration::from_hours(1),
        }
    }
}

/// Why a request goes on without the index.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// Redis was found down before; it was not asked.
    #[error("Redis is down")]
    Down,
    /// No answer within the budget.
    #[error("Redis does not answer in time")]
    Late,
    /// An error instead of an answer.
    #[error("Redis failed")]
    Failed(#[from] redis::RedisError),
}

/// The index that sidecars keep in Redis.
pub struct SharedIndex {
    client: Client,
    config: ReaderConfig,
    /// `None` = down.
    connection: RwLock<Option<MultiplexedConnection>>,
    late: AtomicU32,
    lost: Notify,
    swept: AtomicU64,
    failed_sweeps: AtomicU64,
}

impl std::fmt::Debug for SharedIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedIndex")
            .field("config", &self.config)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl SharedIndex {
    /// Connects to nothing yet.
    pub fn new(address: &RedisAddress, config: ReaderConfig) -> Result<Self, redis::RedisError> {
        let mut settings = RedisConnectionInfo::default().set_db(address.database);
        if let Some(password) = &address.password {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Tcp(address.host.clone(), address.port)
            .into_connection_info()?
            .set_redis_settings(settings);
        Ok(Self {
            client: Client::open(info)?,
            config,
            connection: RwLock::default(),
            late: AtomicU32::new(0),
            lost: Notify::new(),
            swept: AtomicU64::new(0),
            failed_sweeps: AtomicU64::new(0),
        })
    }

    /// Whether requests ask Redis.
    pub fn is_up(&self) -> bool {
        self.connection().is_some()
    }

    /// Stale fields removed since the start.
    pub fn swept(&self) -> u64 {
        self.swept.load(Ordering::Relaxed)
    }

    /// Removals that Redis refused or broke off since the start.
    pub fn failed_sweeps(&self) -> u64 {
        self.failed_sweeps.load(Ordering::Relaxed)
    }

    /// Who holds the blocks of a prompt: consecutive runs of `block_size` tokens, at most `max_blocks` of them. A rest
    /// that is shorter is not asked for, since engines announce whole blocks only. `model` is the name sidecars were given.
    pub async fn owners(
        &self,
        model: &str,
        tokens: &[u32],
        block_size: u32,
        max_blocks: u32,
    ) -> Result<Owned, ReadFault> {
        let mut connection = self.connection().ok_or(ReadFault::Down)?;
        let size = usize::try_from(block_size.max(1)).unwrap_or(usize::MAX);
        let most = usize::try_from(max_blocks).unwrap_or(usize::MAX);
        let mut pipeline = redis::pipe();
        for tokens in tokens.chunks_exact(size).take(most) {
            pipeline
                .cmd("HGETALL")
                .arg(format!("{BLOCKS}{model}@{}", lone_hash(tokens)));
        }
        if pipeline.is_empty() {
            return Ok(Owned::default());
        }
        let asked = pipeline.query_async::<Vec<Vec<(String, String)>>>(&mut connection);
        let answer = timeout(self.config.budget, asked).await;
        match answer {
            Ok(Ok(blocks)) => {
                self.late.store(0, Ordering::Relaxed);
                Ok(Owned::new(blocks))
            }
            Ok(Err(fault)) => {
                self.trip();
                Err(fault.into())
            }
            Err(_) => {
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
                    self.trip();
                }
                Err(ReadFault::Late)
            }
        }
    }

    /// Connects, connects again when Redis was lost, and removes stale fields now and then, for as long as it is
    /// polled.
    pub async fn keep_up(&self) {
        let mut wait = RETRY.0;
        loop {
            let lost = self.lost.notified();
            if self.connect().await {
                wait = RETRY.0;
                tokio::select! {
                    () = lost => {}
                    () = self.sweep_now_and_then() => {}
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// Opens a connection, which counts only if Redis answers on it as fast as requests need it to.
    async fn connect(&self) -> bool {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&settings)
            .await;
        let Ok(mut connection) = connected else {
            return false;
        };
        let ping = redis::cmd("PING");
        let answered = timeout(
            self.config.budget,
            ping.query_async::<String>(&mut connection),
        );
        let well = matches!(answered.await, Ok(Ok(_)));
        if well {
            self.late.store(0, Ordering::Relaxed);
            *self.slot() = Some(connection);
        }
        well
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn slot(&self) -> std::sync::RwLockWriteGuard<'_, Option<MultiplexedConnection>> {
        self.connection
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Redis is down for everyone until [`Self::keep_up`] finds it well.
    fn trip(&self) {
        if self.slot().take().is_some() {
            tracing::warn!("Redis fails; requests go on without the shared cache index");
            self.lost.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
