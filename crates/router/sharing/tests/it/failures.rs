//! Counts of several routers while Redis is gone, stopped, paused, read-only or full.

use kthena_testkit::RedisServer;
use redis::aio::MultiplexedConnection;

use crate::support::{Router, becomes, client};

async fn say(connection: &mut MultiplexedConnection, command: &[&str]) {
    let (name, arguments) = command.split_first().unwrap();
    let answer: redis::RedisResult<redis::Value> = redis::cmd(name)
        .arg(arguments)
        .query_async(connection)
        .await;
    answer.unwrap();
}

#[tokio::test]
async fn redis_may_come_later_than_the_router() {
    let mut server = RedisServer::start().unwrap();
    server.kill();
    let one = Router::start(&server, "one");
    let _running = one.begin(0, 2);
    one.sees([2, 0]).await;
    assert!(!one.state.is_up());
    server.restart().unwrap();
    one.is_up(true).await;
    becomes(&client(&server).await, "a", Some("2")).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_empty_learns_everything_again() {
    let mut server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let running = one.begin(0, 3);
    let _others = two.begin(0, 1);
    two.sees([4, 0]).await;
    server.kill();
    // Each by itself.
    one.sees([3, 0]).await;
    two.sees([1, 0]).await;
    drop(running);
    let _new = one.begin(1, 2);
    server.restart().unwrap();
    one.sees([1, 2]).await;
    two.sees([1, 2]).await;
    let redis = client(&server).await;
    becomes(&redis, "a", Some("1")).await;
    becomes(&redis, "b", Some("2")).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_left_alone_until_it_goes_on() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let running = one.begin(0, 3);
    two.sees([3, 0]).await;
    server.suspend().unwrap();
    two.sees([0, 0]).await;
    one.is_up(false).await;
    drop(running);
    let _new = one.begin(1, 1);
    server.resume().unwrap();
    two.sees([0, 1]).await;
    becomes(&client(&server).await, "a", Some("0")).await;
}

#[tokio::test]
async fn a_pause_of_writers_is_survived() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let mut redis = client(&server).await;
    let _running = one.begin(0, 3);
    two.sees([3, 0]).await;
    say(&mut redis, &["CLIENT", "PAUSE", "600000", "WRITE"]).await;
    let _more = one.begin(0, 1);
    one.is_up(false).await;
    say(&mut redis, &["CLIENT", "UNPAUSE"]).await;
    two.sees([4, 0]).await;
    becomes(&redis, "a", Some("4")).await;
}

/// Such a pause cannot be ended early: that command waits too.
#[tokio::test]
async fn a_pause_of_everybody_is_survived() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let mut redis = client(&server).await;
    let _running = one.begin(0, 3);
    two.sees([3, 0]).await;
    say(&mut redis, &["CLIENT", "PAUSE", "5000", "ALL"]).await;
    let _more = one.begin(0, 1);
    one.is_up(false).await;
    two.sees([0, 0]).await;
    two.sees([4, 0]).await;
    becomes(&redis, "a", Some("4")).await;
}

#[tokio::test]
async fn a_redis_that_is_read_only_is_read_and_written_again_later() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let mut redis = client(&server).await;
    let running = one.begin(0, 3);
    two.sees([3, 0]).await;
    // A replica of nobody who answers.
    say(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let failures = one.state.failures();
    drop(running);
    let _new = one.begin(1, 2);
    kthena_testkit::eventually("a refused write", crate::support::DEADLINE, async || {
        (one.state.failures() > failures).then_some(())
    })
    .await
    .unwrap();
    assert!(one.endpoints[1].on_flight() >= 2, "its own requests count");
    say(&mut redis, &["REPLICAOF", "NO", "ONE"]).await;
    two.sees([0, 2]).await;
    becomes(&redis, "a", Some("0")).await;
}

#[tokio::test]
async fn a_redis_that_is_full_is_written_again_when_there_is_room() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let mut redis = client(&server).await;
    let _running = one.begin(0, 3);
    two.sees([3, 0]).await;
    say(
        &mut redis,
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    )
    .await;
    say(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let failures = one.state.failures();
    let _new = one.begin(1, 2);
    kthena_testkit::eventually("a refused write", crate::support::DEADLINE, async || {
        (one.state.failures() > failures).then_some(())
    })
    .await
    .unwrap();
    one.sees([3, 2]).await;
    say(&mut redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    two.sees([3, 2]).await;
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_told_again() {
    let server = RedisServer::start().unwrap();
    let lease = std::time::Duration::from_secs(3);
    let one = Router::with_lease(&server, "one", lease);
    let two = Router::with_lease(&server, "two", lease);
    let mut redis = client(&server).await;
    let _running = one.begin(0, 3);
    two.sees([3, 0]).await;
    say(&mut redis, &["FLUSHALL"]).await;
    two.sees([3, 0]).await;
    becomes(&redis, "a", Some("3")).await;
}
