//! The connection to Redis: made when needed, given up when it fails, made again after a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::time::Instant;

use crate::config::SharingConfig;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How the connection stands, for metrics and readiness pages.
#[derive(Debug, Default)]
pub struct LinkState {
    up: AtomicBool,
    failures: AtomicU64,
}

impl LinkState {
    /// Redis answered the last time it was asked.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Connections that could not be made or were given up, and commands that Redis refused.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Done(T),
    /// Redis answers but does not do it: it is read-only, full or loading.
    Refused,
    /// The connection is given up; whether the command was carried out is not known.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    limit: Duration,
    connection: Option<MultiplexedConnection>,
    retry_at: Instant,
    pause: Duration,
    /// Warned once, until something works again.
    complained: bool,
    state: Arc<LinkState>,
}

impl Link {
    pub(crate) fn new(config: &SharingConfig) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(config.redis.connection_info()?)?,
            limit: config.limit,
            connection: None,
            retry_at: Instant::now(),
            pause: FIRST_PAUSE,
            complained: false,
            state: Arc::default(),
        })
    }

    pub(crate) fn state(&self) -> Arc<LinkState> {
        Arc::clone(&self.state)
    }

    /// The connection, made if it is time to try.
    pub(crate) async fn connection(&mut self) -> Option<MultiplexedConnection> {
        if let Some(connection) = &self.connection {
            return Some(connection.clone());
        }
        if Instant::now() < self.retry_at {
            return None;
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit.max(Duration::from_secs(1))))
            .set_response_timeout(Some(self.limit));
        let made = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        match made {
            Ok(connection) => {
                self.connection = Some(connection.clone());
                Some(connection)
            }
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// Judges the result of a command.
    pub(crate) fn judge<T>(&mut self, result: RedisResult<T>) -> Answer<T> {
        match result {
            Ok(value) => {
                self.pause = FIRST_PAUSE;
                if !self.state.up.swap(true, Ordering::Relaxed) {
                    tracing::info!("the state that routers share is available");
                }
                self.complained = false;
                Answer::Done(value)
            }
            Err(error) if is_refusal(&error) => {
                self.complain(&error);
                Answer::Refused
            }
            Err(error) => {
                self.give_up(&error);
                Answer::Lost
            }
        }
    }

    fn give_up(&mut self, error: &RedisError) {
        self.connection = None;
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.state.up.store(false, Ordering::Relaxed);
        self.complain(error);
    }

    fn complain(&mut self, error: &RedisError) {
        self.state.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "Redis does not serve; this router goes by what it knows itself");
        }
    }
}

/// Redis itself said no, over a connection that works.
fn is_refusal(error: &RedisError) -> bool {
    !error.is_timeout()
        && !error.is_io_error()
        && !error.is_connection_dropped()
        && !error.is_unrecoverable_error()
        && error.code().is_some()
}
