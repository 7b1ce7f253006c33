//! Models whose tokens are limited.

use kthena_router_pipeline::ErrorStyle;
use kthena_router_view::View;
use rstest::rstest;
use serde_json::{Value, json};

use crate::client::{Answer, CHAT, chat, post};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Step, event, ok};
use crate::setup::{TestRouter, config, view};

/// A view whose route has this limit per hour, within which nothing fills up that a test would notice.
fn limited(engine: &Engine, limit: &Value) -> View {
    let mut view = view(&[engine], &json!({}));
    limit_to(&mut view, limit);
    view
}

fn limit_to(view: &mut View, limit: &Value) {
    let mut spec = json!({
        "modelName": "m", "loraAdapters": ["adapter"],
        "rules": [{
            "modelMatch": {"uri": {"prefix": "/v1/chat/"}},
            "targetModels": [{"modelServerName": "s"}],
        }],
    });
    if !limit.is_null() {
        spec["rateLimit"] = limit.clone();
        spec["rateLimit"]["unit"] = json!("hour");
    }
    let route = json!({"metadata": {"namespace": "ns", "name": "r"}, "spec": spec});
    view.apply_route(&serde_json::from_value(route).unwrap());
}

async fn router(engine: &Engine, limit: Value) -> TestRouter {
    let router = TestRouter::start(config()).await;
    router.publisher.publish(limited(engine, &limit).snapshot());
    router
}

fn assert_refused(answer: &Answer, message: &str) {
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, error["message"].as_str()),
        (429, Some(message))
    );
    assert_eq!(error["type"], "rate_limit_error");
    assert_eq!(error["code"], "rate_limit_exceeded");
}

const INPUT: &str = "input token rate limit exceeded";
const OUTPUT: &str = "output token rate limit exceeded";

#[tokio::test]
async fn prompts_take_of_the_limit_until_it_is_used_up() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    // Each prompt is eight tokens.
    let router = router(&engine, json!({"inputTokensPerUnit": 20})).await;
    let mut client = router.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    let refused = client.ask(&chat("m")).await;

    assert_refused(&refused, INPUT);
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let small = client
        .ask(&post(CHAT, r#"{"model":"m","prompt":"four"}"#))
        .await;
    assert_eq!(small.status, 200, "a refused prompt took nothing");
    assert_eq!(engine.seen().len(), 3);
    router.until_metric("kthena_router_active_requests 0").await;
    let metrics = router.metrics().await;
    for line in [
        r#"kthena_router_rate_limit_exceeded_total{model="m",limit_type="input_tokens",path="/v1/chat/completions"} 1"#,
        r#"kthena_router_requests_total{model="m",path="/v1/chat/completions",status_code="429",error_type="rate_limit",model_route="none",backend_type="unresolved",backend_name="none",upstream_model="none"} 1"#,
        r#"kthena_router_tokens_total{model="m",path="/v1/chat/completions",token_type="input",model_route="none",backend_type="unresolved",backend_name="none",upstream_model="none"} 8"#,
    ] {
        assert!(
            metrics.lines().any(|other| other == line),
            "{line}\nin\n{metrics}"
        );
    }
    let log = router.stop().await;
    assert!(
        log[2].contains(r#" 429 error="input_rate_limit:input token rate limit exceeded" "#),
        "{}",
        log[2]
    );
}

#[tokio::test]
async fn a_prompt_above_the_limit_can_never_go() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = router(&engine, json!({"inputTokensPerUnit": 7})).await;

    let refused = router.ask(&chat("m")).await;

    assert_refused(&refused, INPUT);
    assert_eq!(refused.header("retry-after"), None);
}

#[tokio::test]
async fn the_limit_comes_before_the_route() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = router(&engine, json!({"inputTokensPerUnit": 1})).await;
    let elsewhere = |prompt: &str| {
        post(
            "/v1/completions",
            &json!({"model": "m", "prompt": prompt}).to_string(),
        )
    };

    assert_eq!(router.ask(&elsewhere("four")).await.status, 404);
    assert_refused(&router.ask(&elsewhere("four")).await, INPUT);
}

fn whole(tokens: u32) -> Vec<Step> {
    ok(&json!({"usage": {"prompt_tokens": 8, "completion_tokens": tokens}}).to_string())
}

/// Reports after every token, so that the reports add up to ten.
fn streamed() -> Vec<Step> {
    let mut steps = vec![Step::Send(STREAM_HEAD.to_vec())];
    for tokens in 1..=4 {
        let report =
            json!({"choices": [{}], "usage": {"prompt_tokens": 8, "completion_tokens": tokens}});
        steps.push(Step::Send(event(&report.to_string())));
    }
    steps.extend([Step::Send(event("[DONE]")), Step::Send(LAST_CHUNK.to_vec())]);
    steps
}

#[rstest]
#[case::whole(whole(4))]
#[case::streamed(streamed())]
#[tokio::test]
async fn answers_are_charged_once(#[case] steps: Vec<Step>) {
    let engine = Engine::start(move |_, _| steps.clone()).await;
    let router = router(&engine, json!({"outputTokensPerUnit": 8})).await;
    let mut client = router.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    let refused = client.ask(&chat("m")).await;

    assert_refused(&refused, OUTPUT);
    let log = router.stop().await;
    assert!(
        log[2].contains(r#"error="output_rate_limit:"#),
        "{}",
        log[2]
    );
}

#[tokio::test]
async fn an_answer_above_the_limit_is_a_debt() {
    let engine = Engine::start(|_, _| whole(1000)).await;
    let router = router(&engine, json!({"outputTokensPerUnit": 3600})).await;
    let mut client = router.client().await;
    for _ in 0..4 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    let refused = client.ask(&chat("m")).await;

    assert_refused(&refused, OUTPUT);
    // 400 tokens are owed, one a second comes.
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((300..=401).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_adapter_takes_of_its_models_limit_and_others_of_none() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = router(&engine, json!({"inputTokensPerUnit": 8})).await;

    assert_eq!(router.ask(&chat("adapter")).await.status, 200);
    assert_refused(&router.ask(&chat("m")).await, INPUT);
    for _ in 0..3 {
        assert_eq!(router.ask(&chat("stranger")).await.status, 404);
    }
}

#[tokio::test]
async fn edits_of_a_route_take_effect_and_refill_nothing() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let limit = |tokens: u32| json!({"inputTokensPerUnit": tokens});
    let mut view = limited(&engine, &limit(8));
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());
    assert_eq!(router.ask(&chat("m")).await.status, 200);

    limit_to(&mut view, &limit(800));
    router.publisher.publish(view.snapshot());
    assert_refused(&router.ask(&chat("m")).await, INPUT);

    limit_to(&mut view, &Value::Null);
    router.publisher.publish(view.snapshot());
    assert_eq!(router.ask(&chat("m")).await.status, 200);
}

#[tokio::test]
async fn the_old_style_says_it_in_a_bare_string() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    let router = TestRouter::start(legacy).await;
    let limit = json!({"inputTokensPerUnit": 8});
    router
        .publisher
        .publish(limited(&engine, &limit).snapshot());
    assert_eq!(router.ask(&chat("m")).await.status, 200);

    let refused = router.ask(&chat("m")).await;

    assert_eq!(
        (refused.status, refused.text()),
        (429, "\"input token rate limit exceeded\"")
    );
    assert_eq!(refused.header("retry-after"), None);
}
