//! Routers in miniature: endpoints and the task that shares their counts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kthena_router_scheduler::{Endpoint, InFlight, PodIdentity};
use kthena_router_sharing::counts::SUMS;
use kthena_router_sharing::{Demand, LinkState, RedisConfig, SharedCounts, SharingConfig};
use kthena_testkit::{RedisServer, eventually};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A loaded machine may take this long for anything.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Router {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) state: Arc<LinkState>,
    pub(crate) demand: Arc<Demand>,
    news: Arc<Mutex<Option<Vec<Arc<Endpoint>>>>>,
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

pub(crate) fn config(server: &RedisServer, name: &str, lease: Duration) -> SharingConfig {
    let redis = RedisConfig {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        password: String::new(),
    };
    SharingConfig {
        lease,
        ..SharingConfig::new(redis, name.to_owned())
    }
}

pub(crate) fn endpoint(name: &str, uid: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(PodIdentity {
        namespace: "default".into(),
        name: name.into(),
        uid: uid.into(),
    }))
}

impl Router {
    /// A router with pods `a` and `b`.
    pub(crate) fn start(server: &RedisServer, name: &str) -> Self {
        Self::with_lease(server, name, Duration::from_secs(30))
    }

    pub(crate) fn with_lease(server: &RedisServer, name: &str, lease: Duration) -> Self {
        let endpoints = vec![endpoint("a", "1"), endpoint("b", "1")];
        let news = Arc::new(Mutex::new(Some(endpoints.clone())));
        let source = Arc::clone(&news);
        let demand = Arc::<Demand>::default();
        let counts = SharedCounts::new(
            config(server, name, lease),
            Arc::clone(&demand),
            Box::new(move || source.lock().unwrap().take()),
        )
        .unwrap();
        let shutdown = CancellationToken::new();
        Self {
            endpoints,
            state: counts.state(),
            demand,
            news,
            task: tokio::spawn(counts.run(shutdown.clone())),
            shutdown,
        }
    }

    pub(crate) fn begin(&self, pod: usize, requests: usize) -> Vec<InFlight> {
        (0..requests).map(|_| self.endpoints[pod].begin()).collect()
    }

    pub(crate) fn set_endpoints(&mut self, endpoints: Vec<Arc<Endpoint>>) {
        self.endpoints.clone_from(&endpoints);
        *self.news.lock().unwrap() = Some(endpoints);
    }

    /// Waits until the router believes that all routers together have so many requests on its pods.
    pub(crate) async fn sees(&self, expected: [u32; 2]) {
        let what = format!("{expected:?} requests on all routers");
        eventually(&what, DEADLINE, async || {
            self.demand.note();
            let seen: Vec<u32> = self.endpoints.iter().map(|one| one.on_flight()).collect();
            (seen == expected).then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn is_up(&self, up: bool) {
        eventually("the link's state", DEADLINE, async || {
            self.demand.note();
            (self.state.is_up() == up).then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as a crash does: nothing is said to anybody.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A client of the test's own.
pub(crate) async fn client(server: &RedisServer) -> MultiplexedConnection {
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE));
    redis::Client::open(format!("redis://127.0.0.1:{}", server.port()))
        .unwrap()
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .unwrap()
}

/// What the shared hash holds for a pod.
pub(crate) async fn sum(connection: &mut MultiplexedConnection, pod: &str) -> Option<String> {
    redis::cmd("HGET")
        .arg(SUMS)
        .arg(format!("default/{pod}"))
        .query_async(connection)
        .await
        .unwrap()
}

pub(crate) async fn becomes(connection: &MultiplexedConnection, pod: &str, expected: Option<&str>) {
    let what = format!("{expected:?} for {pod} in the shared hash");
    eventually(&what, DEADLINE, async || {
        let found = sum(&mut connection.clone(), pod).await;
        (found.as_deref() == expected).then_some(())
    })
    .await
    .unwrap();
}
