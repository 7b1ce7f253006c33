//! What the sidecar keeps in Redis.

use std::time::Duration;

use kthena_engine_sim::EngineConfig;
use kthena_kv_events::block_hash::lone_hash;
use kthena_kv_events::events::KvEvent;
use kthena_kv_events::redis::{ListenConfig, Store, Writer, WriterConfig, listen};
use kthena_testkit::{RedisServer, eventually};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{
    DEADLINE, NOW, address, all_keys, client, feed, keys, owners, removed, stored, until_owners,
};

#[tokio::test]
async fn writes_what_routers_read_and_earlier_sidecars_wrote() {
    let server = RedisServer::start().unwrap();
    let mut client = client(&server).await;
    let mut fed = feed(&server, 0);
    fed.say(stored(u64::MAX, &[1, 2, 3])).await;
    until_owners(&client, &[1, 2, 3], 1).await;

    let owners = owners(&mut client, &[1, 2, 3]).await;
    assert_eq!(owners["pod-0.default"], NOW.to_string());
    let mapping = format!("vllm:kv:block:pod-0.default@{}", u64::MAX);
    let block = format!("matrix:kv:block:tiny@{}", lone_hash(&[1, 2, 3]));
    let standard: String = redis::cmd("GET")
        .arg(&mapping)
        .query_async(&mut client)
        .await
        .unwrap();
    assert_eq!(standard, "8866284349863400844");
    for key in [&mapping, &block] {
        let lifetime: i64 = redis::cmd("TTL")
            .arg(key)
            .query_async(&mut client)
            .await
            .unwrap();
        assert!((86_000..=86_400).contains(&lifetime), "{key}: {lifetime}");
    }

    fed.say(removed(u64::MAX)).await;
    until_owners(&client, &[1, 2, 3], 0).await;
    // Only the number of the next message stays.
    let left = eventually("the mapping to be gone", DEADLINE, || {
        let mut client = client.clone();
        async move { Some(all_keys(&mut client).await).filter(|keys| keys.len() == 1) }
    });
    assert_eq!(left.await.unwrap(), ["kthena:kv:seen:vllm:pod-0.default"]);
}

#[tokio::test]
async fn other_owners_and_models_are_left_alone() {
    let server = RedisServer::start().unwrap();
    let mut client = client(&server).await;
    let block = format!("matrix:kv:block:tiny@{}", lone_hash(&[1]));
    for key in [block.as_str(), "matrix:kv:block:other@1"] {
        let mut other = redis::cmd("HSET");
        other.arg(key).arg("pod-0.other").arg("7");
        let () = other.query_async(&mut client).await.unwrap();
    }
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    until_owners(&client, &[1], 2).await;
    fed.say(KvEvent::Cleared).await;
    until_owners(&client, &[1], 1).await;
    assert_eq!(owners(&mut client, &[1]).await["pod-0.other"], "7");
}

#[tokio::test]
async fn a_gap_gives_up_what_was_claimed() {
    let server = RedisServer::start().unwrap();
    let client = client(&server).await;
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    until_owners(&client, &[1], 1).await;
    fed.skip_to(9);
    fed.say(stored(2, &[2])).await;
    until_owners(&client, &[2], 1).await;
    until_owners(&client, &[1], 0).await;
}

#[tokio::test]
async fn a_sidecar_that_restarts_goes_on() {
    let server = RedisServer::start().unwrap();
    let client = client(&server).await;
    let mut first = feed(&server, 0);
    first.say(stored(1, &[1])).await;
    first.say(stored(2, &[1])).await;
    first.say(stored(3, &[3])).await;
    until_owners(&client, &[3], 1).await;
    drop(first);

    let mut second = feed(&server, 3);
    second.say(removed(3)).await;
    until_owners(&client, &[3], 0).await;
    // Two blocks have these tokens: the first to go changes nothing.
    second.say(removed(1)).await;
    second.say(stored(4, &[4])).await;
    until_owners(&client, &[4], 1).await;
    until_owners(&client, &[1], 1).await;
    second.say(removed(2)).await;
    until_owners(&client, &[1], 0).await;
    drop(second);

    // This one missed messages while it was away.
    let mut third = feed(&server, 20);
    third.say(stored(5, &[5])).await;
    until_owners(&client, &[5], 1).await;
    until_owners(&client, &[4], 0).await;
}

#[tokio::test]
async fn blocks_of_an_earlier_sidecar_are_taken_over() {
    let server = RedisServer::start().unwrap();
    let mut client = client(&server).await;
    let standard = lone_hash(&[1]);
    let mut old = redis::pipe();
    old.set("vllm:kv:block:pod-0.default@77", standard).ignore();
    old.set("vllm:kv:block:pod-01default@78", 5).ignore();
    old.hset(
        format!("matrix:kv:block:tiny@{standard}"),
        "pod-0.default",
        "1",
    )
    .ignore();
    let () = old.query_async(&mut client).await.unwrap();

    let mut fed = feed(&server, 400);
    fed.say(removed(77)).await;
    fed.say(removed(78)).await;
    until_owners(&client, &[1], 0).await;
    let keys = all_keys(&mut client).await;
    assert!(
        keys.contains(&"vllm:kv:block:pod-01default@78".to_owned()),
        "{keys:?}"
    );
}

#[tokio::test]
async fn redis_that_comes_back_empty_is_filled_again() {
    let mut server = RedisServer::start().unwrap();
    let first = client(&server).await;
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    until_owners(&first, &[1], 1).await;
    server.kill();
    fed.say(stored(2, &[2])).await;
    fed.say(removed(1)).await;
    fed.say(stored(3, &[3])).await;
    server.restart().unwrap();
    let second = client(&server).await;
    until_owners(&second, &[2], 1).await;
    until_owners(&second, &[3], 1).await;
    until_owners(&second, &[1], 0).await;
    // And it goes on from there.
    fed.say(stored(4, &[4])).await;
    until_owners(&second, &[4], 1).await;
}

#[tokio::test]
async fn without_redis_at_the_start_nothing_is_lost() {
    let mut server = RedisServer::start().unwrap();
    server.kill();
    let mut fed = feed(&server, 0);
    fed.say(stored(1, &[1])).await;
    server.restart().unwrap();
    let client = client(&server).await;
    until_owners(&client, &[1], 1).await;
}

/// Engine, sidecar and Redis: everything but the process boundary.
#[tokio::test]
async fn an_engines_blocks_reach_redis() {
    let server = RedisServer::start().unwrap();
    let mut client = client(&server).await;
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();

    let events = r#"{"enable_kv_cache_events":true,"topic":"kv-events","endpoint":"tcp://*:0"}"#;
    let args = [
        "vllm",
        "serve",
        "tiny",
        "--host",
        "127.0.0.1",
        "--block-size",
        "32",
    ];
    let args = args
        .into_iter()
        .chain(["--sim-speed", "100", "--kv-events-config", events]);
    let args: Vec<String> = args.map(str::to_owned).collect();
    let (config, _) = EngineConfig::from_engine_args(&args).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(kthena_engine_sim::serve(config, listener, stop.clone()));

    let http = reqwest::Client::new();
    let sockets = http
        .get(format!("{engine}/sim/sockets"))
        .send()
        .await
        .unwrap();
    let sockets: serde_json::Value =
        serde_json::from_slice(&sockets.bytes().await.unwrap()).unwrap();
    let store = Store::new(&address(&server), keys()).unwrap();
    let (heard, messages) = mpsc::channel(16);
    let writer = Writer::new(WriterConfig::default(), store);
    tokio::spawn(writer.run(messages, || NOW, stop.clone()));
    tokio::spawn(listen(
        ListenConfig {
            endpoint: sockets["kv_events"].as_str().unwrap().to_owned(),
            topic: "kv-events".to_owned(),
            rank: 0,
        },
        heard,
    ));

    let post = async |path: &str, body: serde_json::Value| {
        let request = http.post(format!("{engine}{path}"));
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        answer.bytes().await.unwrap()
    };
    let prompt = "a prompt of more than thirty-two tokens ".repeat(12);
    let tokens = post(
        "/tokenize",
        serde_json::json!({"model": "tiny", "prompt": prompt}),
    )
    .await;
    let tokens: serde_json::Value = serde_json::from_slice(&tokens).unwrap();
    let tokens: Vec<u32> = serde_json::from_value(tokens["tokens"].clone()).unwrap();
    assert!(tokens.len() > 64);

    // What is said before the subscription has arrived is lost, so it is said until it is heard.
    eventually("the first block in Redis", DEADLINE, || {
        let mut client = client.clone();
        let (post, prompt, tokens) = (&post, &prompt, &tokens);
        async move {
            post("/reset_prefix_cache", serde_json::json!({})).await;
            let ask = serde_json::json!({"model": "tiny", "prompt": prompt, "max_tokens": 1});
            post("/v1/completions", ask).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            (!owners(&mut client, &tokens[..32]).await.is_empty()).then_some(())
        }
    })
    .await
    .unwrap();
    let second = owners(&mut client, &tokens[32..64]).await;
    assert_eq!(second["pod-0.default"], NOW.to_string());
    post("/reset_prefix_cache", serde_json::json!({})).await;
    until_owners(&client, &tokens[..32], 0).await;
}
