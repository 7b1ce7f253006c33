//! Requests while the index that sidecars keep in Redis is out of reach, and after.

use std::time::Duration;

use kthena_kv_events::block_hash::lone_hash;
use kthena_router_proxy::{KvSource, RedisAddress};
use kthena_testkit::RedisServer;
use redis::aio::MultiplexedConnection;
use rstest::rstest;
use serde_json::json;

use crate::cached::{Engines, answered_by, by_cache, prompt, value};
use crate::client::{Client, post, soon};
use crate::setup::{TestRouter, view_of};

/// Requests while Redis is in trouble.
const REPEATS: u32 = 8;
/// The pod that holds everything.
const HOLDER: &str = "pod-1";

/// What happens to Redis.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Killed,
    Hangs,
    ReadOnly,
    Full,
}

impl Trouble {
    /// Whether it can still be read.
    fn is_readable(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Full)
    }

    async fn begin(self, server: &mut RedisServer) {
        match self {
            Self::Killed => server.kill(),
            Self::Hangs => server.suspend().unwrap(),
            // A replica of nobody who answers.
            Self::ReadOnly => say(server, &["REPLICAOF", "127.0.0.1", "1"]).await,
            Self::Full => say(server, &["CONFIG", "SET", "maxmemory", "1"]).await,
        }
    }

    async fn end(self, server: &mut RedisServer) {
        match self {
            Self::Killed => server.restart().unwrap(),
            Self::Hangs => server.resume().unwrap(),
            Self::ReadOnly => say(server, &["REPLICAOF", "NO", "ONE"]).await,
            Self::Full => say(server, &["CONFIG", "SET", "maxmemory", "0"]).await,
        }
    }
}

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(("127.0.0.1", server.port())).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn say(server: &RedisServer, command: &[&str]) {
    let (name, arguments) = command.split_first().unwrap();
    let mut command = redis::cmd(name);
    command.arg(arguments);
    command
        .exec_async(&mut connect(server).await)
        .await
        .unwrap();
}

/// Tells Redis, as a sidecar would, that [`HOLDER`] has all of the prompt.
async fn announce(server: &RedisServer, engines: &Engines, word: &str) {
    let body = json!({"model": "m", "prompt": format!("{word} ").repeat(200)});
    let ask = post("/tokenize", &body.to_string());
    let answer = Client::connect(engines.addresses[0]).await.ask(&ask).await;
    let tokens: Vec<u32> = serde_json::from_value(answer.json()["tokens"].clone()).unwrap();
    let mut pipeline = redis::pipe();
    for tokens in tokens.chunks_exact(16) {
        let key = format!("matrix:kv:block:m@{}", lone_hash(tokens));
        pipeline
            .hset(key, format!("{HOLDER}.ns"), "1800000000")
            .ignore();
    }
    let () = pipeline
        .query_async(&mut connect(server).await)
        .await
        .unwrap();
}

/// Waits until a request goes where Redis says it should.
async fn until_known(router: &TestRouter, word: &str) {
    soon(async {
        loop {
            let (pod, told) = answered_by(router, &prompt(word)).await;
            if pod == HOLDER && told.contains("kvcache-aware 100") {
                return;
            }
        }
    })
    .await;
}

#[rstest]
#[case::killed(Trouble::Killed)]
#[case::hangs(Trouble::Hangs)]
#[case::read_only(Trouble::ReadOnly)]
#[case::full(Trouble::Full)]
#[tokio::test]
async fn requests_go_on_and_the_index_comes_back(#[case] trouble: Trouble) {
    let mut server = RedisServer::start().unwrap();
    let engines = Engines::start(2).await;
    let source = KvSource::Redis {
        address: RedisAddress {
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            database: 0,
            password: None,
        },
        budget: Duration::from_millis(200),
    };
    let router = TestRouter::start(by_cache(source)).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    announce(&server, &engines, "word").await;
    until_known(&router, "word").await;

    trouble.begin(&mut server).await;
    for _ in 0..REPEATS {
        // It is answered, by whomever.
        answered_by(&router, &prompt("word")).await;
    }
    if trouble.is_readable() {
        until_known(&router, "word").await;
    } else {
        assert_eq!(value(&router, "kv_index_redis_up").await, 0);
        let errors = r#"kthena_router_kvcache_aware_errors_total{model="m",stage="redis"} "#;
        router.until_metric(errors).await;
    }

    trouble.end(&mut server).await;
    announce(&server, &engines, "word").await;
    until_known(&router, "word").await;
    assert_eq!(value(&router, "kv_index_redis_up").await, 1);
}
