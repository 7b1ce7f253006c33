//! Counts of several routers while Redis works.

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use kthena_router_sharing::counts::{LEASES, SUMS};
use kthena_testkit::RedisServer;

use crate::support::{Router, becomes, client, endpoint, sum};

#[tokio::test]
async fn routers_see_each_others_requests_in_the_old_layout() {
    let server = RedisServer::start().unwrap();
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let redis = client(&server).await;
    let on_a = one.begin(0, 3);
    let _on_both = (two.begin(0, 2), two.begin(1, 1));
    becomes(&redis, "a", Some("5")).await;
    becomes(&redis, "b", Some("1")).await;
    one.sees([5, 1]).await;
    two.sees([5, 1]).await;
    drop(on_a);
    becomes(&redis, "a", Some("2")).await;
    two.sees([2, 1]).await;
    assert!(one.state.is_up());
}

#[tokio::test]
async fn an_old_routers_counts_are_seen_and_kept() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let one = Router::start(&server, "one");
    let increment = |by: i32| {
        let mut command = redis::cmd("HINCRBY");
        command.arg(SUMS).arg("default/a").arg(by);
        command
    };
    let _: i64 = increment(4).query_async(&mut redis).await.unwrap();
    let running = one.begin(0, 2);
    one.sees([6, 0]).await;
    becomes(&redis, "a", Some("6")).await;
    let _: i64 = increment(-1).query_async(&mut redis).await.unwrap();
    drop(running);
    becomes(&redis, "a", Some("3")).await;
}

#[tokio::test]
async fn no_sum_falls_below_zero() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let one = Router::start(&server, "one");
    let running = one.begin(0, 5);
    becomes(&redis, "a", Some("5")).await;
    // Another repairs it its own way.
    let _: i64 = redis::cmd("HSET")
        .arg(SUMS)
        .arg("default/a")
        .arg(1)
        .query_async(&mut redis)
        .await
        .unwrap();
    drop(running);
    becomes(&redis, "a", Some("0")).await;
}

#[tokio::test]
async fn what_is_no_number_is_repaired() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let _: i64 = redis::cmd("HSET")
        .arg(SUMS)
        .arg("default/a")
        .arg("many")
        .query_async(&mut redis)
        .await
        .unwrap();
    let one = Router::start(&server, "one");
    let _running = one.begin(0, 2);
    becomes(&redis, "a", Some("2")).await;
    one.sees([2, 0]).await;
}

#[tokio::test]
async fn a_router_that_stops_takes_its_share_along() {
    let server = RedisServer::start().unwrap();
    let redis = client(&server).await;
    let (one, two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let _running = one.begin(0, 3);
    let _others = two.begin(0, 1);
    becomes(&redis, "a", Some("4")).await;
    one.stop().await;
    becomes(&redis, "a", Some("1")).await;
    two.sees([1, 0]).await;
}

#[tokio::test]
async fn the_share_of_a_router_that_crashed_expires() {
    let server = RedisServer::start().unwrap();
    let redis = client(&server).await;
    let lease = Duration::from_secs(1);
    let one = Router::with_lease(&server, "one", lease);
    let two = Router::with_lease(&server, "two", lease);
    let _running = one.begin(0, 3);
    let _others = two.begin(0, 1);
    becomes(&redis, "a", Some("4")).await;
    one.crash().await;
    becomes(&redis, "a", Some("1")).await;
    two.sees([1, 0]).await;
}

/// Set for the copy of this program that plays the router to be killed: the port of Redis.
const VICTIM: &str = "KTHENA_TEST_VICTIM_REDIS_PORT";

/// Not a test by itself: in the copy of this program that the next test starts, it is the router that is killed.
#[tokio::test]
async fn victim() {
    let Ok(port) = env::var(VICTIM) else {
        return;
    };
    let redis = kthena_router_sharing::RedisConfig {
        host: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
        password: String::new(),
    };
    let config = kthena_router_sharing::SharingConfig {
        lease: Duration::from_secs(1),
        ..kthena_router_sharing::SharingConfig::new(redis, "victim".to_owned())
    };
    let pod = endpoint("a", "1");
    let _running = (pod.begin(), pod.begin());
    let mut news = Some(vec![pod]);
    let counts = kthena_router_sharing::SharedCounts::new(
        config,
        std::sync::Arc::default(),
        Box::new(move || news.take()),
    );
    counts
        .unwrap()
        .run(tokio_util::sync::CancellationToken::new())
        .await;
}

#[tokio::test]
async fn the_share_of_a_router_that_was_killed_expires() {
    let server = RedisServer::start().unwrap();
    let redis = client(&server).await;
    let other = Router::with_lease(&server, "other", Duration::from_secs(1));
    let _running = other.begin(0, 1);
    // With the test program, should that be killed, goes the victim.
    let mut victim = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "counts::victim"])
        .env(VICTIM, server.port().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    becomes(&redis, "a", Some("3")).await;
    other.sees([3, 0]).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    becomes(&redis, "a", Some("1")).await;
    other.sees([1, 0]).await;
}

#[tokio::test]
async fn a_router_that_outlives_its_lease_publishes_everything_again() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let one = Router::start(&server, "one");
    let _running = one.begin(0, 3);
    becomes(&redis, "a", Some("3")).await;
    // As another router would that found the lease ended.
    let _: () = redis::pipe()
        .del("kthena:on-flight-requests:one")
        .hset(SUMS, "default/a", 0)
        .zrem(LEASES, "one")
        .query_async(&mut redis)
        .await
        .unwrap();
    let _more = one.begin(1, 1);
    becomes(&redis, "a", Some("3")).await;
    becomes(&redis, "b", Some("1")).await;
}

#[tokio::test]
async fn a_pod_that_goes_leaves_the_hash_with_the_last_router_that_counts_it() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let (mut one, mut two) = (Router::start(&server, "one"), Router::start(&server, "two"));
    let _running = (one.begin(0, 3), two.begin(0, 1));
    becomes(&redis, "a", Some("4")).await;
    let left = |router: &Router| vec![std::sync::Arc::clone(&router.endpoints[1])];
    let rest = left(&one);
    one.set_endpoints(rest);
    becomes(&redis, "a", Some("1")).await;
    let rest = left(&two);
    two.set_endpoints(rest);
    becomes(&redis, "a", None).await;
    assert_eq!(sum(&mut redis, "b").await, None);
}

#[tokio::test]
async fn a_pod_that_comes_back_while_old_requests_run_is_not_negative() {
    let server = RedisServer::start().unwrap();
    let redis = client(&server).await;
    let mut one = Router::start(&server, "one");
    let old = one.begin(0, 3);
    becomes(&redis, "a", Some("3")).await;
    let again = vec![endpoint("a", "2"), std::sync::Arc::clone(&one.endpoints[1])];
    one.set_endpoints(again);
    let _new = one.begin(0, 1);
    becomes(&redis, "a", Some("1")).await;
    drop(old);
    one.sees([1, 0]).await;
    becomes(&redis, "a", Some("1")).await;
}
