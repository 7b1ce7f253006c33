//! Fairness over several routers.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use kthena_router_filters::queue::{Ask, Engines, Permit, Queues, Waiting};
use kthena_router_filters::settings::{FairnessConfig, Pace, QueueConfig};
use kthena_router_filters::{Clock, Now};
use kthena_router_sharing::consumption::SUMS_PREFIX;
use kthena_router_sharing::{LinkState, SharedConsumption};
use kthena_testkit::{RedisServer, eventually};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{DEADLINE, client, config};

struct Router {
    queues: Arc<Queues>,
    state: Arc<LinkState>,
    _running: DropGuard,
}

fn clock() -> Clock {
    Arc::new(|| Now {
        monotonic: Instant::now(),
        unix: SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
    })
}

impl Router {
    fn start(server: &RedisServer, name: &str) -> Self {
        let fairness = FairnessConfig {
            pace: Pace::Permits(std::num::NonZeroUsize::MIN),
            timeout: DEADLINE * 2,
            ..FairnessConfig::default()
        };
        let settings = QueueConfig {
            fairness: Some(fairness),
            ..QueueConfig::off()
        };
        let queues = Arc::new(Queues::new(settings, clock()));
        queues.set_models(["llama"]);
        let config = config(server, name, DEADLINE);
        let sharing = SharedConsumption::new(config, Arc::clone(&queues)).unwrap();
        let state = sharing.state();
        let shutdown = CancellationToken::new();
        tokio::spawn(sharing.run(shutdown.clone()));
        Self {
            queues,
            state,
            _running: shutdown.drop_guard(),
        }
    }

    fn enter(&self, user: &str) -> Waiting {
        let ask = Ask {
            model: "llama",
            user,
            ..Ask::default()
        };
        self.queues.enter(&ask, Engines::default).unwrap()
    }

    /// Holds the only permit until `ann` and `bob` wait for it, then says who gets it.
    async fn first(&self, settled: impl AsyncFn()) -> &'static str {
        let holder: Permit = self.enter("holder").await.unwrap();
        let (ann, bob) = (self.enter("ann"), self.enter("bob"));
        settled().await;
        drop(holder);
        tokio::select! {
            permit = ann => permit.map(|_permit| "ann").unwrap(),
            permit = bob => permit.map(|_permit| "bob").unwrap(),
        }
    }
}

/// What `router` knows the user to have had on all routers, in tokens.
async fn knows(server: &RedisServer, router: &str, tokens: u64) {
    let redis = client(server).await;
    let micro = (tokens * 1_000_000).to_string();
    eventually("the sums of a router", DEADLINE, async || {
        let sums: Vec<String> = redis::cmd("HVALS")
            .arg(format!("{SUMS_PREFIX}{router}"))
            .query_async(&mut redis.clone())
            .await
            .unwrap();
        sums.iter().any(|sum| sum.starts_with(&micro)).then_some(())
    })
    .await
    .unwrap();
}

/// Asks for admission again and again until `expected` goes first.
async fn goes_first(router: &Router, expected: &str) {
    eventually("the right user goes first", DEADLINE, async || {
        // Who waits is asked about, so the answer is right at the latest after the next exchange.
        let first = router.first(async || tokio::task::yield_now().await).await;
        (first == expected).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_a_user_had_on_one_router_counts_on_the_other() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    one.queues.record("ann", "llama", 1000, 0).unwrap();
    // By itself, the second router would let her go first.
    two.queues.record("bob", "llama", 10, 0).unwrap();
    two.queues.record("ann", "llama", 1, 0).unwrap();
    knows(&server, "one", 1000).await;
    goes_first(&two, "bob").await;
    // No id stands in Redis.
    let mut redis = client(&server).await;
    let fields: Vec<String> = redis::cmd("HKEYS")
        .arg(format!("{SUMS_PREFIX}one"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(
        fields
            .iter()
            .all(|field| field.len() == 32 && !field.contains("ann"))
    );
}

#[tokio::test]
async fn without_redis_each_router_is_fair_by_itself_and_together_again_later() {
    let mut server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    one.queues.record("ann", "llama", 1000, 0).unwrap();
    two.queues.record("ann", "llama", 1, 0).unwrap();
    two.queues.record("bob", "llama", 10, 0).unwrap();
    goes_first(&two, "bob").await;
    server.kill();
    goes_first(&two, "ann").await;
    assert!(!two.state.is_up());
    server.restart().unwrap();
    goes_first(&two, "bob").await;
}
