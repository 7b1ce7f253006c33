//! Removes fields that nobody refreshed for a day: those of pods that are gone.
//!
//! The whole space of keys is walked once per interval, slowly, by the one router that gets the lock.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use super::{BLOCKS, SharedIndex};
use crate::redis::LIFETIME;

/// Whoever holds it walks.
const LOCK: &str = "kthena:kv:sweep";
/// Keys looked at in a step.
const STEP: usize = 100;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(100);

impl SharedIndex {
    /// Walks once per interval, if no other router does. Ends when Redis fails.
    pub(super) async fn sweep_now_and_then(&self) {
        loop {
            tokio::time::sleep(self.config.sweep_interval).await;
            let Some(mut connection) = self.connection() else {
                return;
            };
            if let Err(fault) = self.sweep(&mut connection).await {
                self.failed_sweeps.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%fault, "stale cache entries stay in Redis for now");
            }
        }
    }

    async fn sweep(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let lease = self.config.sweep_interval.as_secs().max(1);
        let mut lock = redis::cmd("SET");
        lock.arg(LOCK).arg(1).arg("NX").arg("EX").arg(lease);
        let granted: Option<String> = lock.query_async(connection).await?;
        if granted.is_none() {
            return Ok(());
        }
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{BLOCKS}*"));
            scan.arg("COUNT").arg(STEP);
            let (next, keys): (u64, Vec<String>) = scan.query_async(connection).await?;
            self.clean(&keys, connection).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn clean(
        &self,
        keys: &[String],
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut read = redis::pipe();
        for key in keys {
            read.cmd("HGETALL").arg(key);
        }
        let hashes: Vec<Vec<(String, String)>> = read.query_async(connection).await?;
        let oldest = oldest();
        let mut remove = redis::pipe();
        let mut stale = 0;
        for (key, fields) in keys.iter().zip(hashes) {
            for (owner, announced) in fields {
                if announced.parse::<i64>().is_ok_and(|at| at < oldest) {
                    remove.cmd("HDEL").arg(key).arg(owner).ignore();
                    stale += 1;
                }
            }
        }
        if stale > 0 {
            remove.query_async::<()>(connection).await?;
            self.swept.fetch_add(stale, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The earliest second that still counts.
fn oldest() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.saturating_sub(LIFETIME).as_secs()).unwrap_or(i64::MAX)
}
