//! The sidecar while Redis hangs, takes no writes or has no room.

use kthena_testkit::RedisServer;
use redis::aio::MultiplexedConnection;

use crate::support::{client, feed, removed, stored, until_owners};

async fn say(connection: &mut MultiplexedConnection, command: &[&str]) {
    let (name, arguments) = command.split_first().unwrap();
    let mut command = redis::cmd(name);
    command.arg(arguments);
    command.exec_async(connection).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_hangs_is_told_later() {
    let server = RedisServer::start().unwrap();
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    until_owners(&client(&server).await, &[1], 1).await;
    server.suspend().unwrap();
    fed.say(stored(2, &[2])).await;
    fed.say(removed(1)).await;
    server.resume().unwrap();
    let redis = client(&server).await;
    until_owners(&redis, &[2], 1).await;
    until_owners(&redis, &[1], 0).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_told_when_it_does_again() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    until_owners(&redis, &[1], 1).await;
    // A replica of nobody who answers.
    say(&mut redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    fed.say(stored(2, &[2])).await;
    fed.say(removed(1)).await;
    fed.say(stored(3, &[3])).await;
    say(&mut redis, &["REPLICAOF", "NO", "ONE"]).await;
    until_owners(&redis, &[2], 1).await;
    until_owners(&redis, &[3], 1).await;
    until_owners(&redis, &[1], 0).await;
}

#[tokio::test]
async fn a_full_redis_still_loses_what_is_gone_and_learns_the_rest_when_there_is_room() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let mut fed = feed(&server, 0);
    for block in 1..=3 {
        fed.say(stored(block, &[u32::try_from(block).unwrap()]))
            .await;
    }
    until_owners(&redis, &[3], 1).await;
    say(
        &mut redis,
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
    )
    .await;
    say(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    fed.say(stored(4, &[4])).await;
    fed.say(removed(1)).await;
    // A block that is claimed but not there would cost more than one that is not claimed.
    until_owners(&redis, &[1], 0).await;
    until_owners(&redis, &[2], 1).await;
    say(&mut redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    until_owners(&redis, &[4], 1).await;
    until_owners(&redis, &[3], 1).await;
}
