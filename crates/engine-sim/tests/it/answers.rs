//! What a request may ask for, and that it gets it.

use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{TestEngine, start};

async fn engine() -> TestEngine {
    start("vllm serve m-7b --sim-speed 50").await
}

fn hello() -> Value {
    json!({"model": "m-7b", "messages": [{"role": "user", "content": "hello"}]})
}

fn with(mut body: Value, members: &Value) -> Value {
    let target = body.as_object_mut().unwrap();
    target.extend(members.as_object().unwrap().clone());
    body
}

/// The text of a chat stream.
fn streamed(events: &[Value]) -> String {
    let contents = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    contents.collect()
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let engine = engine().await;
    let whole = engine.chat(hello()).await.json();
    let stream = engine
        .chat(with(hello(), &json!({"stream": true})))
        .await
        .events();
    assert_eq!(whole["choices"][0]["message"]["content"], streamed(&stream));
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        stream.last().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
}

#[tokio::test]
async fn a_seed_changes_the_answer_and_repeats_it() {
    let engine = engine().await;
    let content = async |seed: i64| {
        let reply = engine
            .chat(with(hello(), &json!({"seed": seed})))
            .await
            .json();
        reply["choices"][0]["message"]["content"].clone()
    };
    assert_eq!(content(7).await, content(7).await);
    assert_ne!(content(7).await, content(-8).await);
}

#[rstest]
#[case::max_tokens(json!({"max_tokens": 3}), 3, "length")]
#[case::newer_name_wins(json!({"max_tokens": 9, "max_completion_tokens": 2}), 2, "length")]
#[case::ignore_eos(json!({"max_tokens": 300, "ignore_eos": true}), 300, "length")]
#[case::min_tokens(json!({"max_tokens": 250, "min_tokens": 250}), 250, "length")]
#[tokio::test]
async fn limits_are_kept(#[case] members: Value, #[case] tokens: u64, #[case] finish: &str) {
    let reply = engine().await.chat(with(hello(), &members)).await.json();
    assert_eq!(reply["usage"]["completion_tokens"], tokens);
    assert_eq!(reply["choices"][0]["finish_reason"], finish);
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_and_is_named() {
    let engine = engine().await;
    for stream in [false, true] {
        let body = with(hello(), &json!({"stop": ["zzz", "the "], "stream": stream}));
        let reply = engine.chat(body).await;
        let (text, choice) = if stream {
            let events = reply.events();
            (
                streamed(&events),
                events.last().unwrap()["choices"][0].clone(),
            )
        } else {
            let choice = reply.json()["choices"][0].clone();
            (
                choice["message"]["content"].as_str().unwrap().to_owned(),
                choice,
            )
        };
        assert!(!text.contains("the "), "{text}");
        assert_eq!(choice["stop_reason"], "the ");
        assert_eq!(choice["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn choices_differ_and_share_the_prompt() {
    let engine = engine().await;
    let reply = engine
        .chat(with(hello(), &json!({"n": 3, "max_tokens": 10})))
        .await
        .json();
    let texts: Vec<&str> = reply["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    let one = engine
        .chat(with(hello(), &json!({"max_tokens": 10})))
        .await
        .json();
    assert_eq!(
        reply["usage"]["prompt_tokens"],
        one["usage"]["prompt_tokens"]
    );
    assert_eq!(reply["usage"]["completion_tokens"], 30);
}

#[tokio::test]
async fn prompts_of_all_shapes_are_completed() {
    let engine = engine().await;
    for (prompt, choices) in [
        (json!("once"), 1),
        (json!(["once", "upon"]), 2),
        (json!([5, 6, 7]), 1),
        (json!([[5, 6], [7]]), 2),
    ] {
        let reply = engine
            .post("/v1/completions", json!({"prompt": prompt}))
            .await
            .json();
        assert_eq!(reply["choices"].as_array().unwrap().len(), choices);
        // Without a limit a completion has sixteen tokens.
        assert_eq!(reply["usage"]["completion_tokens"], 16 * choices);
    }
}

#[tokio::test]
async fn echo_and_logprobs_of_a_completion() {
    let body = json!({"prompt": "once upon", "max_tokens": 4, "echo": true, "logprobs": 1});
    let reply = engine().await.post("/v1/completions", body).await.json();
    let choice = &reply["choices"][0];
    assert!(choice["text"].as_str().unwrap().starts_with("once upon"));
    assert_eq!(choice["logprobs"]["tokens"].as_array().unwrap().len(), 4);
    assert_eq!(
        choice["logprobs"]["token_logprobs"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn an_echoed_prompt_comes_with_the_first_chunk() {
    let body = json!({"prompt": "once upon", "max_tokens": 4, "echo": true, "stream": true});
    let events = engine().await.post("/v1/completions", body).await.events();
    let texts: Vec<&str> = events
        .iter()
        .map(|event| event["choices"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 4);
    assert!(texts[0].starts_with("once upon") && texts[0].len() > 9);
    assert!(texts[1..].iter().all(|text| text.len() < 8), "{texts:?}");
}

#[tokio::test]
async fn logprobs_of_a_chat_follow_the_tokens() {
    let engine = engine().await;
    let body = with(hello(), &json!({"max_tokens": 5, "logprobs": true}));
    let reply = engine.chat(body.clone()).await.json();
    let entries = reply["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    let text: String = entries
        .iter()
        .map(|entry| entry["token"].as_str().unwrap())
        .collect();
    assert_eq!(reply["choices"][0]["message"]["content"], text);
    let events = engine
        .chat(with(body, &json!({"stream": true})))
        .await
        .events();
    assert_eq!(
        events[1]["choices"][0]["logprobs"]["content"][0]["token"],
        entries[0]["token"]
    );
}

#[tokio::test]
async fn an_echoing_engine_repeats_the_last_message() {
    let engine = start("vllm serve m-7b --sim-echo --sim-speed 50").await;
    let reply = engine.chat(hello()).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "hello");
}

#[tokio::test]
async fn unknown_members_tools_and_formats_are_taken() {
    let body = with(
        hello(),
        &json!({
            "max_tokens": 2, "tools": [{"type": "function", "function": {"name": "f"}}],
            "response_format": {"type": "json_object"}, "x_unknown": {"a": [1]}, "temperature": 0,
        }),
    );
    assert_eq!(engine().await.chat(body).await.status, StatusCode::OK);
}

#[rstest]
#[case::no_choices(json!({"n": 0}), "n")]
#[case::no_tokens(json!({"max_tokens": 0}), "max_tokens")]
#[case::least_above_most(json!({"max_tokens": 1, "min_tokens": 2}), "min_tokens")]
#[case::options_without_stream(json!({"stream_options": {"include_usage": true}}), "stream_options")]
#[case::too_many_tokens(json!({"max_tokens": 1_000_000}), "max_tokens")]
#[case::wrong_type(json!({"max_tokens": "many"}), "body.max_tokens")]
#[case::wrong_stream(json!({"stream": "yes"}), "body.stream")]
#[case::no_messages(json!({"messages": []}), "messages")]
#[tokio::test]
async fn senseless_requests_name_the_member(#[case] members: Value, #[case] param: &str) {
    let reply = engine().await.chat(with(hello(), &members)).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["error"]["param"], param);
}

#[tokio::test]
async fn a_missing_member_is_named() {
    let reply = engine().await.chat(json!({"model": "m-7b"})).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json()["error"]["param"], "body.messages");
}

#[tokio::test]
async fn the_callers_request_id_becomes_the_answers_id() {
    let engine = engine().await;
    let headers = [("x-request-id", "abc")];
    let body = with(hello(), &json!({"max_tokens": 1})).to_string();
    let reply = engine
        .call(Method::POST, "/v1/chat/completions", &headers, body)
        .await;
    assert_eq!(reply.json()["id"], "chatcmpl-abc");
}

#[tokio::test]
async fn every_served_name_is_known_and_the_first_one_answers() {
    let engine = start("vllm serve org/m-7b --served-model-name a b --sim-speed 50").await;
    let body =
        json!({"model": "b", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1});
    assert_eq!(engine.chat(body).await.json()["model"], "a");
    let models = engine.get("/v1/models").await.json();
    assert_eq!(models["data"][1]["id"], "b");
    assert_eq!(models["data"][1]["root"], "org/m-7b");
}

#[tokio::test]
async fn keys_guard_the_api_but_not_the_probes() {
    let engine = start("vllm serve m-7b --api-key k1 k2").await;
    assert_eq!(
        engine.get("/v1/models").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(engine.get("/health").await.status, StatusCode::OK);
    let headers = [("authorization", "Bearer k2")];
    let reply = engine.call(Method::GET, "/v1/models", &headers, "").await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[rstest]
#[case::unknown_path(Method::GET, "/nope", StatusCode::NOT_FOUND)]
#[case::wrong_method(Method::GET, "/v1/chat/completions", StatusCode::METHOD_NOT_ALLOWED)]
#[case::other_dialect(Method::GET, "/get_model_info", StatusCode::NOT_FOUND)]
#[tokio::test]
async fn paths_that_are_not_there(
    #[case] method: Method,
    #[case] path: &str,
    #[case] status: StatusCode,
) {
    let reply = engine().await.call(method, path, &[], "").await;
    assert_eq!(reply.status, status);
    assert!(reply.json()["detail"].is_string());
}

#[tokio::test]
async fn tokens_go_to_text_and_back() {
    let engine = engine().await;
    let text = "Hello, naïve world 2024!";
    let body = json!({"model": "m-7b", "prompt": text, "return_token_strs": true});
    let reply = engine.post("/tokenize", body).await.json();
    assert_eq!(reply["count"], reply["tokens"].as_array().unwrap().len());
    let strings = reply["token_strs"].as_array().unwrap().iter();
    let joined: String = strings.map(|text| text.as_str().unwrap()).collect();
    assert_eq!(joined, text);
    let back = engine
        .post("/detokenize", json!({"tokens": reply["tokens"]}))
        .await
        .json();
    assert_eq!(back["prompt"], text);
}

#[tokio::test]
async fn a_chat_is_tokenized_as_it_is_served() {
    let engine = engine().await;
    let body = with(hello(), &json!({"add_generation_prompt": true}));
    let tokens = engine.post("/tokenize", body).await.json();
    let reply = engine
        .chat(with(hello(), &json!({"max_tokens": 1})))
        .await
        .json();
    assert_eq!(reply["usage"]["prompt_tokens"], tokens["count"]);
}

#[tokio::test]
async fn the_prefix_cache_can_be_emptied() {
    let engine = engine().await;
    let long = "word ".repeat(200);
    let body = json!({"prompt": long, "max_tokens": 1});
    let cached = async || {
        let reply = engine.post("/v1/completions", body.clone()).await.json();
        reply["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(cached().await, 0);
    assert!(cached().await > 0);
    assert_eq!(
        engine.post("/reset_prefix_cache", Value::Null).await.status,
        StatusCode::OK
    );
    assert_eq!(cached().await, 0);
}

#[tokio::test]
async fn embeddings_depend_on_the_input_alone() {
    let engine = start("vllm serve BAAI/bge-m3 --sim-speed 50").await;
    let body = json!({"input": ["a", "b", "a"], "dimensions": 8});
    let reply = engine.post("/v1/embeddings", body).await.json();
    let data = reply["data"].as_array().unwrap();
    assert_eq!(data.len(), 3);
    assert_eq!(data[0]["embedding"], data[2]["embedding"]);
    assert_ne!(data[0]["embedding"], data[1]["embedding"]);
    assert_eq!(data[0]["embedding"].as_array().unwrap().len(), 8);
    let body = json!({"input": "a", "encoding_format": "base64", "dimensions": 8});
    let reply = engine.post("/v1/embeddings", body).await.json();
    // Eight floats of four bytes.
    assert_eq!(reply["data"][0]["embedding"].as_str().unwrap().len(), 44);
    assert_eq!(engine.chat(hello()).await.status, StatusCode::NOT_FOUND);
}
