//! The scripts against the plainest way to say what they do.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use kthena_router_sharing::counts::{LEASES, SHARE_PREFIX, SUMS};
use kthena_testkit::RedisServer;
use redis::Script;

use crate::support::client;

const PODS: [&str; 3] = ["default/a", "default/b", "default/c"];
const ROUTERS: [&str; 3] = ["one", "two", "three"];

/// Any order of publications, departures and leave-takings: the sums are those of the shares.
#[tokio::test]
async fn sums_are_those_of_the_shares_whatever_happens() {
    let server = RedisServer::start().unwrap();
    let mut redis = client(&server).await;
    let publish = Script::new(include_str!("../../src/lua/publish.lua"));
    let forget = Script::new(include_str!("../../src/lua/forget.lua"));
    let reap = Script::new(include_str!("../../src/lua/reap.lua"));
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut shares: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut listed: BTreeSet<&str> = BTreeSet::new();
    for step in 0..2000 {
        let router = ROUTERS[rng.usize(..3)];
        let own = format!("{SHARE_PREFIX}{router}");
        match rng.u8(..10) {
            0 => {
                let mut call = reap.prepare_invoke();
                call.key(SUMS).key(LEASES).arg(SHARE_PREFIX).arg(router);
                let _: i64 = call.invoke_async(&mut redis).await.unwrap();
                shares.retain(|(other, _), _| *other != router);
            }
            1 => {
                let pod = PODS[rng.usize(..3)];
                let mut call = forget.prepare_invoke();
                call.key(SUMS).key(own).key(LEASES);
                call.arg(router).arg(SHARE_PREFIX).arg(pod);
                let _: i64 = call.invoke_async(&mut redis).await.unwrap();
                shares.remove(&(router, pod));
                if !shares.keys().any(|(_, other)| *other == pod) {
                    listed.remove(pod);
                }
            }
            kind => {
                let all = kind < 4;
                if all {
                    shares.retain(|(other, _), _| *other != router);
                }
                let mut call = publish.prepare_invoke();
                call.key(SUMS).key(own).key(LEASES);
                call.arg(router).arg(60_000);
                call.arg(if all { "all" } else { "some" });
                for pod in PODS {
                    if rng.bool() {
                        continue;
                    }
                    let count = rng.i64(0..5);
                    call.arg(pod).arg(count);
                    shares.remove(&(router, pod));
                    if count > 0 {
                        shares.insert((router, pod), count);
                        listed.insert(pod);
                    }
                }
                let _: i64 = call.invoke_async(&mut redis).await.unwrap();
            }
        }
        let sums: BTreeMap<String, i64> = redis::cmd("HGETALL")
            .arg(SUMS)
            .query_async(&mut redis)
            .await
            .unwrap();
        for pod in PODS {
            let expected: i64 = shares
                .iter()
                .filter(|((_, other), _)| *other == pod)
                .map(|(_, count)| count)
                .sum();
            let found = sums.get(pod).copied();
            assert_eq!(
                found.unwrap_or(0),
                expected,
                "{pod} at step {step}, seed {seed}"
            );
            assert_eq!(
                found.is_some(),
                listed.contains(pod),
                "{pod} at step {step}, seed {seed}"
            );
        }
    }
}
