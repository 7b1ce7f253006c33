//! What users consumed, over all routers.
//!
//! Each router keeps a hash `kthena:fairness:<router>` with the sums of its own windows, under hashes of model and
//! user, and is listed in the sorted set `kthena:fairness-routers` by the time of its last word. It adds up what the
//! others' hashes say about the users it deals with. What a router that died has counted stays for one window: it was
//! consumed.
//!
//! # Invariants
//!
//! - No user id is sent to Redis, only hashes of it.
//! - Values are sums, not steps, so that nothing is counted twice however often it is sent.
//! - When Redis fails, the others' sums are dropped at once: every router is then fair by itself.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use kthena_router_filters::queue::Queues;
use kthena_router_filters::tokens::Consumption;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::SharingConfig;
use crate::link::{Answer, Link, LinkState};

/// Routers by the time of their last word, in seconds since 1970 of Redis' clock.
pub const ROUTERS: &str = "kthena:fairness-routers";
/// What stands before a router's name in the key of its sums.
pub const SUMS_PREFIX: &str = "kthena:fairness:";

/// How often sums are exchanged.
const PERIOD: Duration = Duration::from_secs(1);
/// Sums that only fall are told this often within a window.
const FALLS_PER_WINDOW: u32 = 20;

type Pair = (Arc<str>, Arc<str>);

/// The task that shares what users consumed.
pub struct SharedConsumption {
    config: SharingConfig,
    link: Link,
    queues: Arc<Queues>,
    window: Duration,
    script: Script,
    /// By field, as acknowledged.
    published: HashMap<String, Consumption>,
    /// When sums that fell are told again; everything is, after Redis may have lost something.
    falls_at: Instant,
    all_due: bool,
}

impl SharedConsumption {
    /// A task that will share what `queues` count. Without fairness there is nothing to share.
    pub fn new(config: SharingConfig, queues: Arc<Queues>) -> RedisResult<Self> {
        let fairness = queues.config().fairness.as_ref();
        let window = fairness.map_or(PERIOD, |fairness| fairness.window);
        Ok(Self {
            link: Link::new(&config)?,
            config,
            queues,
            window,
            script: Script::new(include_str!("lua/consume.lua")),
            published: HashMap::new(),
            falls_at: Instant::now(),
            all_due: true,
        })
    }

    /// How the connection stands.
    pub fn state(&self) -> Arc<LinkState> {
        self.link.state()
    }

    /// Shares until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.step().await,
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn step(&mut self) {
        let own = self.queues.own_consumption();
        let mut concerned: HashSet<Pair> = self.queues.waiting_users().into_iter().collect();
        let mut sums = HashMap::with_capacity(own.len());
        for (model, user, sum) in own {
            sums.insert(field(&model, &user), sum);
            concerned.insert((model, user));
        }
        let Some(mut connection) = self.link.connection().await else {
            self.stand_alone();
            return;
        };
        let now = Instant::now();
        let falls = now >= self.falls_at;
        let changes = self.changes(&sums, falls);
        let published = self.publish(&mut connection, &changes).await;
        let others = match self.link.judge(published) {
            Answer::Done(others) => others,
            Answer::Refused | Answer::Lost => {
                self.stand_alone();
                return;
            }
        };
        for (field, sum) in changes {
            match sum {
                Some(sum) => drop(self.published.insert(field, sum)),
                None => drop(self.published.remove(&field)),
            }
        }
        if falls {
            self.falls_at = now + self.window / FALLS_PER_WINDOW;
        }
        self.all_due = false;
        self.learn(&mut connection, &others, concerned).await;
    }

    /// What Redis is to be told: sums that grew, and now and then all that changed. `None` = there is nothing any more.
    fn changes(
        &self,
        sums: &HashMap<String, Consumption>,
        falls: bool,
    ) -> Vec<(String, Option<Consumption>)> {
        let mut changes = Vec::new();
        for (field, sum) in sums {
            let known = self.published.get(field);
            let grew = known.is_none_or(|known| sum.micro_tokens > known.micro_tokens);
            // A heartbeat tells everything: Redis may have been emptied.
            if falls || self.all_due || grew {
                changes.push((field.clone(), Some(*sum)));
            }
        }
        if falls || self.all_due {
            let gone = self
                .published
                .keys()
                .filter(|field| !sums.contains_key(*field));
            changes.extend(gone.map(|field| (field.clone(), None)));
        }
        changes
    }

    /// Tells Redis; the answer names the other routers.
    async fn publish(
        &self,
        connection: &mut MultiplexedConnection,
        changes: &[(String, Option<Consumption>)],
    ) -> RedisResult<Vec<String>> {
        let mut call = self.script.prepare_invoke();
        call.key(format!("{SUMS_PREFIX}{}", self.config.router))
            .key(ROUTERS);
        call.arg(&self.config.router)
            .arg(self.window.as_secs().max(1));
        for (field, sum) in changes {
            let value = sum.map(|sum| format!("{} {}", sum.micro_tokens, sum.requests));
            call.arg(field).arg(value.unwrap_or_default());
        }
        call.invoke_async(connection).await
    }

    /// Adds up what the others say about the users we deal with.
    async fn learn(
        &mut self,
        connection: &mut MultiplexedConnection,
        others: &[String],
        concerned: HashSet<Pair>,
    ) {
        if concerned.is_empty() {
            return;
        }
        let concerned: Vec<Pair> = concerned.into_iter().collect();
        let mut sums = vec![Consumption::default(); concerned.len()];
        if !others.is_empty() {
            let fields: Vec<String> = concerned
                .iter()
                .map(|(model, user)| field(model, user))
                .collect();
            let mut question = redis::pipe();
            for router in others {
                question
                    .cmd("HMGET")
                    .arg(format!("{SUMS_PREFIX}{router}"))
                    .arg(&fields);
            }
            let answer: RedisResult<Vec<Vec<Option<String>>>> =
                question.query_async(connection).await;
            let Answer::Done(rows) = self.link.judge(answer) else {
                self.stand_alone();
                return;
            };
            for row in rows {
                for (sum, text) in sums.iter_mut().zip(row) {
                    let theirs = text.as_deref().and_then(parse).unwrap_or_default();
                    sum.micro_tokens = sum.micro_tokens.saturating_add(theirs.micro_tokens);
                    sum.requests = sum.requests.saturating_add(theirs.requests);
                }
            }
        }
        for ((model, user), sum) in concerned.iter().zip(sums) {
            self.queues.set_elsewhere(user, model, sum);
        }
    }

    fn stand_alone(&mut self) {
        self.all_due = true;
        self.queues.clear_elsewhere();
    }
}

/// The field of a user of a model: a hash, since Redis keeps it in plain sight.
fn field(model: &str, user: &str) -> String {
    let mut hash = Sha256::new();
    // With its length in front, so that no two pairs read alike.
    hash.update((model.len() as u64).to_le_bytes());
    hash.update(model);
    hash.update(user);
    let digest = hash.finalize();
    let mut text = String::with_capacity(32);
    for byte in &digest[..16] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse(text: &str) -> Option<Consumption> {
    let (tokens, requests) = text.split_once(' ')?;
    Some(Consumption {
        micro_tokens: tokens.parse().ok()?,
        requests: requests.parse().ok()?,
    })
}

impl std::fmt::Debug for SharedConsumption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedConsumption")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
