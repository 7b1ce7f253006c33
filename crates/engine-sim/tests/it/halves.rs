//! Two engines share a request.

use std::time::Duration;

use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestEngine, start};

const USED: (&str, &str) = ("vllm:kv_cache_usage_perc", "");

fn ask(words: usize, more: Value) -> Value {
    let mut body = json!({
        "model": "m-7b", "messages": [{"role": "user", "content": "word ".repeat(words)}],
        "ignore_eos": true,
    });
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    body.as_object_mut().unwrap().extend(more);
    body
}

fn prefill_ask(words: usize) -> Value {
    let params = json!({"do_remote_decode": true, "do_remote_prefill": false});
    ask(
        words,
        json!({"max_tokens": 1, "kv_transfer_params": params}),
    )
}

async fn vllm(flags: &str) -> TestEngine {
    start(&format!("vllm serve m-7b --sim-speed 50 {flags}")).await
}

/// Runs the first half; what the second needs.
async fn offered(engine: &TestEngine, words: usize) -> Value {
    let reply = engine.chat(prefill_ask(words)).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    reply["kv_transfer_params"].clone()
}

#[tokio::test]
async fn a_prompt_kept_for_another_engine_is_fetched_and_freed() {
    let (prefill, decode) = (vllm("").await, vllm("").await);
    let offer = offered(&prefill, 300).await;
    assert_eq!(offer["do_remote_prefill"], true);
    assert_eq!(offer["remote_port"], prefill.address.port());
    assert!(!offer["remote_block_ids"].as_array().unwrap().is_empty());
    assert!(prefill.metric(USED.0, USED.1).await > 0.0);

    let body = ask(300, json!({"max_tokens": 5, "kv_transfer_params": offer}));
    let reply = decode.chat(body).await.json();

    let prompt = reply["usage"]["prompt_tokens"].as_u64().unwrap();
    let cached = &reply["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert_eq!(*cached, prompt - 1);
    assert_eq!(reply["usage"]["completion_tokens"], 5);
    prefill.until_metric(USED.0, USED.1, 0.0).await;
}

#[tokio::test]
async fn what_another_engine_keeps_can_be_fetched_once() {
    let (prefill, decode) = (vllm("").await, vllm("").await);
    let offer = offered(&prefill, 30).await;
    let body = ask(30, json!({"max_tokens": 2, "kv_transfer_params": offer}));
    assert_eq!(decode.chat(body.clone()).await.status, StatusCode::OK);
    let again = decode.chat(body).await;
    assert_eq!(again.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        again.text().contains("KV transfer failed"),
        "{}",
        again.text()
    );
}

#[tokio::test]
async fn blocks_nobody_comes_for_are_freed_in_time() {
    let (prefill, decode) = (vllm("--sim-keep-blocks 5s").await, vllm("").await);
    let offer = offered(&prefill, 30).await;
    prefill.until_metric(USED.0, USED.1, 0.0).await;
    let body = ask(30, json!({"max_tokens": 2, "kv_transfer_params": offer}));
    let late = decode.chat(body).await;
    assert_eq!(late.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[rstest]
#[case::unknown_request(json!({"do_remote_prefill": true, "remote_request_id": "00", "remote_host": "127.0.0.1", "remote_port": 1}))]
#[case::nobody_named(json!({"do_remote_prefill": true, "remote_block_ids": [1]}))]
#[case::not_a_key(json!({"do_remote_prefill": true, "remote_request_id": "a b", "remote_host": "x", "remote_port": 1}))]
#[tokio::test]
async fn an_engine_told_to_recompute_does_so(#[case] params: Value) {
    let policy = r#"{"kv_connector":"NixlConnector","kv_load_failure_policy":"recompute"}"#;
    let decode = vllm(&format!("--kv-transfer-config {policy}")).await;
    let body = ask(30, json!({"max_tokens": 3, "kv_transfer_params": params}));
    let reply = decode.chat(body.clone()).await.json();
    assert_eq!(reply["usage"]["completion_tokens"], 3);
    assert_eq!(reply["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let strict = vllm("").await;
    assert_eq!(
        strict.chat(body).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[tokio::test]
async fn a_prompt_whose_answer_is_whole_is_not_kept() {
    let engine = vllm("").await;
    let mut body = prefill_ask(30);
    body["ignore_eos"] = json!(false);
    body["max_tokens"] = json!(4000);
    let reply = engine.chat(body).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["kv_transfer_params"], Value::Null);
    engine.until_metric(USED.0, USED.1, 0.0).await;
}

#[tokio::test]
async fn a_decode_half_that_is_given_up_frees_both_engines() {
    let prefill = vllm("").await;
    // A transfer that takes hours.
    let decode = vllm("--sim-transfer-bandwidth 1").await;
    let offer = offered(&prefill, 300).await;
    let body = ask(300, json!({"max_tokens": 5, "kv_transfer_params": offer}));
    let waiting = decode.chat(body);
    let gave_up = async {
        decode
            .until_metric("vllm:num_requests_waiting", "", 1.0)
            .await;
    };
    tokio::select! {
        _ = waiting => panic!("the transfer should take hours"),
        () = gave_up => {}
    }
    // The next request makes the engine look at who is still there.
    let other = ask(3, json!({"max_tokens": 1}));
    assert_eq!(decode.chat(other).await.status, StatusCode::OK);
    decode
        .until_metric("vllm:num_requests_waiting", "", 0.0)
        .await;
    prefill.until_metric(USED.0, USED.1, 0.0).await;
}

struct Pair {
    prefill: TestEngine,
    decode: TestEngine,
    port: u16,
}

async fn sglang(prefill_flags: &str) -> Pair {
    let line =
        "python3 -m sglang.launch_server --model-path m-7b --sim-speed 50 --disaggregation-mode";
    let prefill = start(&format!(
        "{line} prefill --disaggregation-bootstrap-port 0 {prefill_flags}"
    ))
    .await;
    let decode = start(&format!("{line} decode")).await;
    let sockets = prefill.get("/sim/sockets").await.json();
    let port = sockets["bootstrap_port"].as_u64().unwrap();
    Pair {
        prefill,
        decode,
        port: port.try_into().unwrap(),
    }
}

impl Pair {
    fn ask(&self, room: u64, tokens: u64) -> Value {
        let more = json!({
            "max_tokens": tokens, "bootstrap_room": room, "bootstrap_host": "127.0.0.1",
            "bootstrap_port": self.port,
        });
        ask(200, more)
    }

    async fn until_empty(&self) {
        for engine in [&self.prefill, &self.decode] {
            engine
                .until_metric("sglang:num_running_reqs", "", 0.0)
                .await;
            engine.until_metric("sglang:num_queue_reqs", "", 0.0).await;
            engine.until_metric("sglang:token_usage", "", 0.0).await;
        }
    }
}

#[tokio::test]
async fn both_halves_meet_in_their_room() {
    let pair = sglang("").await;
    let room = 9_223_372_036_854_775_807;
    let (first, second) = tokio::join!(
        pair.prefill.chat(pair.ask(room, 1)),
        pair.decode.chat(pair.ask(room, 5))
    );
    assert_eq!(first.status, StatusCode::OK);
    let usage = &second.json()["usage"];
    assert_eq!(usage["completion_tokens"], 5);
    assert!(
        usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    pair.until_empty().await;
    let metrics = pair.prefill.get("/metrics").await;
    assert!(metrics.text().contains("engine_type=\"prefill\""));
}

#[tokio::test]
async fn rooms_keep_requests_apart() {
    let pair = sglang("").await;
    let both = async |room: u64, tokens: u64| {
        let (first, second) = tokio::join!(
            pair.prefill.chat(pair.ask(room, 1)),
            pair.decode.chat(pair.ask(room, tokens))
        );
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(second.json()["usage"]["completion_tokens"], tokens);
    };
    tokio::join!(both(1, 3), both(2, 7), both(3, 11));
    pair.until_empty().await;
}

#[rstest]
#[case::prefill_waits_alone(true)]
#[case::decode_waits_alone(false)]
#[tokio::test]
async fn a_half_that_is_left_alone_fails_in_time(#[case] prefill: bool) {
    let line = "sglang serve m-7b --sim-speed 50 --sim-meet 2s --disaggregation-mode";
    let alone = start(&format!("{line} prefill --disaggregation-bootstrap-port 0")).await;
    let sockets = alone.get("/sim/sockets").await.json();
    let body = ask(
        5,
        json!({
            "max_tokens": 1, "bootstrap_room": 1, "bootstrap_host": "127.0.0.1",
            "bootstrap_port": sockets["bootstrap_port"],
        }),
    );
    let reply = if prefill {
        alone.chat(body).await
    } else {
        start(&format!("{line} decode")).await.chat(body).await
    };
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.text().contains("room"), "{}", reply.text());
}

#[tokio::test]
async fn the_end_of_one_half_ends_the_other() {
    // The prefill half goes away before it has computed everything, which takes seconds.
    let pair = sglang("--sim-speed 2 --chunked-prefill-size 1024").await;
    let long = |room| {
        let mut body = pair.ask(room, 1);
        body["messages"][0]["content"] = json!("word ".repeat(20_000));
        body
    };
    let decode = pair.decode.chat(long(1));
    tokio::pin!(decode);
    {
        let prefill = pair.prefill.chat(long(1));
        let computing = pair
            .prefill
            .until_metric("sglang:num_running_reqs", "", 1.0);
        tokio::select! {
            _ = prefill => panic!("computed too early"),
            reply = &mut decode => panic!("{} too early", reply.status),
            () = computing => {}
        }
    }
    let reply = tokio::time::timeout(Duration::from_mins(1), decode).await;
    let reply = reply.expect("the decode half hangs");
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(reply.text().contains("gave up"), "{}", reply.text());
    pair.until_empty().await;
}

#[tokio::test]
async fn without_a_room_a_half_is_refused() {
    let pair = sglang("").await;
    for engine in [&pair.prefill, &pair.decode] {
        let reply = engine.chat(ask(5, json!({"max_tokens": 1}))).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
}
