//! Requests in flight, over all routers.
//!
//! The hash `kthena:on-flight-requests` holds the sum for each pod, under `namespace/name`: earlier releases read and
//! write exactly that, so both kinds of router see each other's requests. Beside it stand, of our own,
//! `kthena:on-flight-routers`, a sorted set of routers by the end of their leases, and a hash
//! `kthena:on-flight-requests:<router>` with the share of each. A router publishes its share as absolute counts; a
//! script moves the sum by the difference. Whoever finds a lease that has ended takes that router's share back.
//!
//! # Invariants
//!
//! - A request costs nothing here but a store to [`Demand`]; the counts are those of the endpoints' own guards.
//! - No field falls below zero, whatever others write.
//! - A field that this router cannot read counts as this router's own requests alone.
//!
//! # Where to go next
//!
//! `ledger` for what is to be published, `lua/` for the scripts.

mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kthena_router_scheduler::Endpoint;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::SharingConfig;
use crate::link::{Answer, Link, LinkState};
use ledger::Ledger;

/// Sums over all routers; the name earlier releases use.
pub const SUMS: &str = "kthena:on-flight-requests";
/// Routers by the end of their leases, in milliseconds since 1970 of Redis' clock.
pub const LEASES: &str = "kthena:on-flight-routers";
/// What stands before a router's name in the key of its own share.
pub const SHARE_PREFIX: &str = "kthena:on-flight-requests:";

/// Without requests the others are looked at this often only.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// Pause after Redis refused to write.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Says that requests are being placed, so that fresh counts are worth their price.
#[derive(Debug, Default)]
pub struct Demand(AtomicBool);

impl Demand {
    /// A request is about to be placed.
    pub fn note(&self) {
        // A store by every request would make the line wander between processors.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The endpoints of a router, or `None` if they are the same as at the last call.
pub type EndpointSource = Box<dyn FnMut() -> Option<Vec<Arc<Endpoint>>> + Send + Sync>;

/// The task that shares a router's counts.
pub struct SharedCounts {
    config: SharingConfig,
    link: Link,
    demand: Arc<Demand>,
    endpoints: EndpointSource,
    ledger: Ledger,
    scripts: Scripts,
    /// Everything must be published, not only what changed: Redis may know something else than we think.
    all_due: bool,
    heartbeat: Instant,
    read_at: Instant,
    write_at: Instant,
}

struct Scripts {
    publish: Script,
    forget: Script,
    reap: Script,
}

impl SharedCounts {
    /// A task that will share the counts of what `endpoints` names, and look at the others' while there is `demand`.
    /// Nothing is connected yet.
    pub fn new(
        config: SharingConfig,
        demand: Arc<Demand>,
        endpoints: EndpointSource,
    ) -> RedisResult<Self> {
        let now = Instant::now();
        Ok(Self {
            link: Link::new(&config)?,
            config,
            demand,
            endpoints,
            ledger: Ledger::default(),
            scripts: Scripts {
                publish: Script::new(include_str!("../lua/publish.lua")),
                forget: Script::new(include_str!("../lua/forget.lua")),
                reap: Script::new(include_str!("../lua/reap.lua")),
            },
            all_due: true,
            heartbeat: now,
            read_at: now,
            write_at: now,
        })
    }

    /// How the connection stands.
    pub fn state(&self) -> Arc<LinkState> {
        self.link.state()
    }

    /// Shares until `shutdown`, then takes this router's share back.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(self.config.period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.step().await,
                () = shutdown.cancelled() => break,
            }
        }
        self.ledger.stand_alone();
        self.leave().await;
    }

    async fn step(&mut self) {
        if let Some(endpoints) = (self.endpoints)() {
            self.ledger.set_endpoints(endpoints);
        }
        let now = Instant::now();
        let beat = now >= self.heartbeat;
        let changes = self.ledger.changes();
        let gone = self.ledger.gone();
        let write = now >= self.write_at
            && (beat || self.all_due || !changes.is_empty() || !gone.is_empty());
        let read = self.demand.take() || now >= self.read_at;
        if !write && !read {
            return;
        }
        let Some(mut connection) = self.link.connection().await else {
            self.doubt();
            return;
        };
        if write && !self.write(&mut connection, changes, &gone, beat).await {
            return;
        }
        if read {
            self.read(&mut connection).await;
        }
    }

    /// Publishes what is due. `false` if the connection is lost.
    async fn write(
        &mut self,
        connection: &mut MultiplexedConnection,
        changes: ledger::Counts,
        gone: &[String],
        beat: bool,
    ) -> bool {
        let all = self.all_due || beat;
        let counts = if all { self.ledger.all() } else { changes };
        let published = self.publish(connection, &counts, all).await;
        match self.link.judge(published) {
            Answer::Done(fresh) => {
                self.ledger.confirm(&counts, all);
                // Without a lease others may have taken our share back; then what did not change is missing.
                self.all_due = fresh && !all;
            }
            Answer::Refused => {
                self.all_due = true;
                self.write_at = Instant::now() + REFUSED_PAUSE;
                return true;
            }
            Answer::Lost => {
                self.doubt();
                return false;
            }
        }
        if !gone.is_empty() {
            let forgotten = self.forget(connection, gone).await;
            match self.link.judge(forgotten) {
                Answer::Done(()) => self.ledger.forget(gone),
                Answer::Refused => {}
                Answer::Lost => {
                    self.doubt();
                    return false;
                }
            }
        }
        if beat {
            let reaped = self.reap(connection, "").await;
            match self.link.judge(reaped) {
                Answer::Done(0) | Answer::Refused => {}
                Answer::Done(routers) => {
                    tracing::info!(routers, "took back the counts of routers that are gone");
                }
                Answer::Lost => {
                    self.doubt();
                    return false;
                }
            }
            self.heartbeat = Instant::now() + self.config.lease / 3;
        }
        true
    }

    async fn read(&mut self, connection: &mut MultiplexedConnection) {
        self.read_at = Instant::now() + IDLE_PERIOD;
        let fields = self.ledger.fields();
        if fields.is_empty() {
            return;
        }
        let sums: RedisResult<Vec<Option<String>>> = redis::cmd("HMGET")
            .arg(SUMS)
            .arg(&fields)
            .query_async(connection)
            .await;
        match self.link.judge(sums) {
            Answer::Done(sums) => {
                let sums: Vec<Option<i64>> = sums
                    .iter()
                    .map(|sum| sum.as_deref().map_or(Some(0), |sum| sum.parse().ok()))
                    .collect();
                self.ledger.take_over(&fields, &sums);
            }
            Answer::Refused => self.ledger.stand_alone(),
            Answer::Lost => self.doubt(),
        }
    }

    /// What Redis holds is not known any more.
    fn doubt(&mut self) {
        self.all_due = true;
        self.ledger.stand_alone();
    }

    async fn publish(
        &self,
        connection: &mut MultiplexedConnection,
        counts: &ledger::Counts,
        all: bool,
    ) -> RedisResult<bool> {
        let mut call = self.scripts.publish.prepare_invoke();
        call.key(SUMS).key(self.share_key()).key(LEASES);
        call.arg(&self.config.router)
            .arg(self.config.lease.as_millis().to_string())
            .arg(if all { "all" } else { "some" });
        for (field, count) in counts {
            call.arg(field).arg(*count);
        }
        call.invoke_async(connection).await
    }

    async fn forget(
        &self,
        connection: &mut MultiplexedConnection,
        gone: &[String],
    ) -> RedisResult<()> {
        let mut call = self.scripts.forget.prepare_invoke();
        call.key(SUMS).key(self.share_key()).key(LEASES);
        call.arg(&self.config.router).arg(SHARE_PREFIX);
        for field in gone {
            call.arg(field);
        }
        call.invoke_async::<i64>(connection).await.map(drop)
    }

    async fn reap(
        &self,
        connection: &mut MultiplexedConnection,
        leaving: &str,
    ) -> RedisResult<u64> {
        let mut call = self.scripts.reap.prepare_invoke();
        call.key(SUMS).key(LEASES).arg(SHARE_PREFIX).arg(leaving);
        call.invoke_async(connection).await
    }

    /// Takes this router's share back at once, so that nobody must wait for the end of its lease.
    async fn leave(&mut self) {
        let Some(mut connection) = self.link.connection().await else {
            return;
        };
        let router = self.config.router.clone();
        let left = self.reap(&mut connection, &router).await;
        if !matches!(self.link.judge(left), Answer::Done(_)) {
            tracing::debug!("the share of this router stays until its lease ends");
        }
    }

    fn share_key(&self) -> String {
        format!("{SHARE_PREFIX}{}", self.config.router)
    }
}

impl std::fmt::Debug for SharedCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedCounts")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
