use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kthena_testkit::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{ReadFault, ReaderConfig, SharedIndex};
use crate::block_hash::lone_hash;
use crate::redis::RedisAddress;

const DEADLINE: Duration = Duration::from_mins(1);
const MODEL: &str = "org/model";
const OWNER: &str = "a.default";

struct Reading {
    index: Arc<SharedIndex>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    fn start(port: u16, config: ReaderConfig) -> Self {
        let address = RedisAddress {
            host: "127.0.0.1".to_owned(),
            port,
            database: 0,
            password: None,
        };
        let index = Arc::new(SharedIndex::new(&address, config).unwrap());
        let own = Arc::clone(&index);
        let task = tokio::spawn(async move { own.keep_up().await });
        Self { index, task }
    }

    async fn until_up(&self) {
        until("Redis is found", || self.index.is_up()).await;
    }

    async fn length(&self, tokens: &[u32]) -> Result<u32, ReadFault> {
        let owned = self.index.owners(MODEL, tokens, 2, 128).await?;
        Ok(owned.length(OWNER, None))
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// A loaded machine must not look like a slow Redis.
fn patient() -> ReaderConfig {
    ReaderConfig {
        budget: Duration::from_secs(20),
        ..ReaderConfig::default()
    }
}

async fn admin(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    redis::Client::open(("127.0.0.1", server.port()))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

fn key(tokens: &[u32]) -> String {
    format!("matrix:kv:block:{MODEL}@{}", lone_hash(tokens))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

async fn announce(server: &RedisServer, tokens: &[u32], owner: &str, at: u64) {
    let mut set = redis::cmd("HSET");
    set.arg(key(tokens)).arg(owner).arg(at);
    set.exec_async(&mut admin(server).await).await.unwrap();
}

#[tokio::test]
async fn blocks_are_read_that_sidecars_wrote() {
    let server = RedisServer::start().unwrap();
    announce(&server, &[1, 2], OWNER, now()).await;
    announce(&server, &[3, 4], OWNER, now()).await;
    announce(&server, &[3, 4], "b.default", now()).await;
    let reading = Reading::start(server.port(), patient());
    reading.until_up().await;
    assert_eq!(reading.length(&[1, 2, 3, 4, 5]).await.unwrap(), 2);
    assert_eq!(reading.length(&[3, 4, 1, 2]).await.unwrap(), 2);
    assert_eq!(reading.length(&[9, 9, 1, 2]).await.unwrap(), 0);
    assert_eq!(reading.length(&[]).await.unwrap(), 0);
    let owned = reading.index.owners(MODEL, &[1, 2, 3, 4, 5], 2, 128).await;
    assert_eq!(owned.unwrap().blocks(), 2, "the short one cannot be there");
    let owned = reading.index.owners(MODEL, &[1, 2, 3, 4, 5], 2, 1).await;
    assert_eq!(owned.unwrap().blocks(), 1);
}

#[tokio::test]
async fn a_killed_redis_costs_one_error_and_is_found_again() {
    let mut server = RedisServer::start().unwrap();
    announce(&server, &[1, 2], OWNER, now()).await;
    let reading = Reading::start(server.port(), patient());
    reading.until_up().await;
    assert_eq!(reading.length(&[1, 2]).await.unwrap(), 1);
    server.kill();
    let failed = reading.length(&[1, 2]).await;
    assert!(failed.is_err());
    assert!(!reading.index.is_up());
    let again = reading.length(&[1, 2]).await;
    assert!(matches!(again, Err(ReadFault::Down)), "{again:?}");
    server.restart().unwrap();
    reading.until_up().await;
    assert_eq!(reading.length(&[1, 2]).await.unwrap(), 0, "it is empty");
    announce(&server, &[1, 2], OWNER, now()).await;
    assert_eq!(reading.length(&[1, 2]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_redis_that_is_down_at_the_start_is_found_later() {
    let mut server = RedisServer::start().unwrap();
    server.kill();
    let reading = Reading::start(server.port(), patient());
    let down = reading.length(&[1, 2]).await;
    assert!(matches!(down, Err(ReadFault::Down)), "{down:?}");
    server.restart().unwrap();
    reading.until_up().await;
}

#[tokio::test]
async fn a_slow_redis_costs_the_budget_twice() {
    let server = RedisServer::start().unwrap();
    let config = ReaderConfig {
        budget: Duration::from_millis(50),
        ..ReaderConfig::default()
    };
    let reading = Reading::start(server.port(), config);
    reading.until_up().await;
    // Nothing is answered for so long.
    let pause = Duration::from_secs(5);
    let mut sleep = redis::cmd("CLIENT");
    sleep.arg("PAUSE").arg(pause.as_millis().to_string());
    sleep.exec_async(&mut admin(&server).await).await.unwrap();
    let begun = Instant::now();
    let mut late = 0;
    while let Err(ReadFault::Late) = reading.length(&[1, 2]).await {
        late += 1;
    }
    assert_eq!(late, 2);
    assert!(matches!(
        reading.length(&[1, 2]).await,
        Err(ReadFault::Down)
    ));
    assert!(begun.elapsed() < pause, "{:?}", begun.elapsed());
    reading.until_up().await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_read() {
    let server = RedisServer::start().unwrap();
    announce(&server, &[1, 2], OWNER, now()).await;
    let mut admin = admin(&server).await;
    let mut full = redis::cmd("CONFIG");
    full.arg("SET").arg("maxmemory").arg("1");
    full.exec_async(&mut admin).await.unwrap();
    let config = ReaderConfig {
        sweep_interval: Duration::from_millis(20),
        ..patient()
    };
    let reading = Reading::start(server.port(), config);
    reading.until_up().await;
    assert_eq!(reading.length(&[1, 2]).await.unwrap(), 1);
    let mut replica = redis::cmd("REPLICAOF");
    replica.arg("127.0.0.1").arg("1");
    replica.exec_async(&mut admin).await.unwrap();
    until("sweeps fail", || reading.index.failed_sweeps() > 2).await;
    assert_eq!(reading.length(&[1, 2]).await.unwrap(), 1);
}

#[tokio::test]
async fn an_error_instead_of_blocks_is_an_error() {
    let server = RedisServer::start().unwrap();
    let mut set = redis::cmd("SET");
    set.arg(key(&[1, 2])).arg("not a hash");
    set.exec_async(&mut admin(&server).await).await.unwrap();
    let reading = Reading::start(server.port(), patient());
    reading.until_up().await;
    assert!(matches!(
        reading.length(&[1, 2]).await,
        Err(ReadFault::Failed(_))
    ));
}

#[tokio::test]
async fn what_answers_without_being_redis_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, mut heard) = tokio::sync::mpsc::channel(64);
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 256]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = asked.try_send(());
        }
    });
    let reading = Reading::start(port, patient());
    tokio::time::timeout(DEADLINE, heard.recv()).await.unwrap();
    assert!(matches!(reading.length(&[1]).await, Err(ReadFault::Down)));
    serving.abort();
}

#[tokio::test]
async fn stale_fields_are_removed_and_others_kept() {
    const DAY: u64 = 24 * 3600;
    let server = RedisServer::start().unwrap();
    for at in 0..300 {
        announce(&server, &[at, at], "old.default", now() - DAY - 60).await;
        announce(&server, &[at, at], OWNER, now() - DAY + 600).await;
    }
    let mut odd = redis::cmd("HSET");
    odd.arg(key(&[1, 1])).arg("odd.default").arg("soon");
    odd.exec_async(&mut admin(&server).await).await.unwrap();
    let config = ReaderConfig {
        sweep_interval: Duration::from_millis(20),
        ..patient()
    };
    let readings = [
        Reading::start(server.port(), config),
        Reading::start(server.port(), config),
    ];
    let swept = || {
        readings
            .iter()
            .map(|reading| reading.index.swept())
            .sum::<u64>()
    };
    until("all stale fields are gone", || swept() >= 300).await;
    let mut read = redis::cmd("HKEYS");
    read.arg(key(&[1, 1]));
    let mut left: Vec<String> = read.query_async(&mut admin(&server).await).await.unwrap();
    left.sort();
    assert_eq!(left, [OWNER, "odd.default"]);
    assert_eq!(swept(), 300);
}
