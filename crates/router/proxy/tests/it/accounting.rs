//! What a request leaves behind in metrics and log.

use std::sync::Arc;

use kthena_router_view::View;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::client::{CHAT, chat, post, post_with};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Script, Step, answer, event, ok};
use crate::setup::{TestRouter, config};

const REPORT: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

fn stream(more: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"stream":true{more}}}"#
    );
    post(CHAT, &body)
}

/// The lines of a family in the router's metrics.
async fn series(router: &TestRouter, family: &str) -> Vec<String> {
    let text = router.metrics().await;
    let lines = text.lines().filter(|line| line.starts_with(family));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn strangers_share_one_series_and_unread_bodies_have_none() {
    let router = TestRouter::serving(&[]).await;
    for model in ["stranger", "another"] {
        assert_eq!(router.ask(&chat(model)).await.status, 404);
    }
    for body in ["{", r#"{"prompt":"x"}"#, r#"{"model":"m","prompt":"x"} {}"#] {
        assert_eq!(router.ask(&post(CHAT, body)).await.status, 400);
    }
    router.until_metric("kthena_router_active_requests 0").await;

    let unresolved = r#"model="unknown",path="/v1/chat/completions""#;
    let nowhere =
        r#"model_route="none",backend_type="unresolved",backend_name="none",upstream_model="none""#;
    assert_eq!(
        series(&router, "kthena_router_requests_total{").await,
        [format!(
            r#"kthena_router_requests_total{{{unresolved},status_code="404",error_type="route_not_found",{nowhere}}} 2"#
        )]
    );
    // "hi" is eight tokens of ChatML.
    assert_eq!(
        series(&router, "kthena_router_tokens_total{").await,
        [format!(
            r#"kthena_router_tokens_total{{{unresolved},token_type="input",{nowhere}}} 16"#
        )]
    );
    assert_eq!(
        series(&router, "kthena_router_active_downstream_requests{").await,
        [r#"kthena_router_active_downstream_requests{model="unknown"} 0"#]
    );
}

#[tokio::test]
async fn a_prompt_that_cannot_be_read_is_counted() {
    let router = TestRouter::serving(&[]).await;

    assert_eq!(
        router.ask(&post(CHAT, r#"{"model":"m"}"#)).await.status,
        400
    );

    router
        .until_metric(r#"kthena_router_requests_total{model="m",path="/v1/chat/completions",status_code="400",error_type="prompt_parsing","#)
        .await;
}

#[derive(Debug, Clone, Copy)]
enum Leaves {
    Engine,
    Client,
}

#[rstest]
#[case::engine(Leaves::Engine, "response_forwarding")]
#[case::client(Leaves::Client, "client_closed")]
#[tokio::test]
async fn tokens_that_were_reported_count_whatever_ends_the_stream(
    #[case] who: Leaves,
    #[case] error: &str,
) {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event(r#"{"choices":[{"delta":{"content":"x"}}]}"#)),
            Step::Send(event(REPORT)),
            Step::Await(Arc::clone(&held)),
            Step::Close,
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client
        .send(&stream(r#","stream_options":{"include_usage":true}"#))
        .await;
    client.until("completion_tokens").await;

    match who {
        Leaves::Engine => {
            gate.add_permits(1);
            client.until_closed().await;
        }
        Leaves::Client => drop(client),
    }

    router.until_metric("kthena_router_active_requests 0").await;
    let tokens = series(&router, "kthena_router_tokens_total{").await;
    assert!(
        tokens
            .iter()
            .any(|line| line.contains(r#"token_type="output""#) && line.ends_with(" 5")),
        "{tokens:?}"
    );
    let log = router.stop().await;
    assert!(log[0].contains(" tokens=8/5 "), "{}", log[0]);
    assert!(
        log[0].contains(&format!(" 200 error=\"{error}:")),
        "{}",
        log[0]
    );
}

#[tokio::test]
async fn reports_after_every_token_count_once() {
    let engine = Engine::start(|_, _| {
        let mut steps = vec![Step::Send(STREAM_HEAD.to_vec())];
        for tokens in 1..=4 {
            steps.push(Step::Send(event(&format!(
                r#"{{"choices":[{{"delta":{{"content":"x"}}}}],"usage":{{"prompt_tokens":7,"completion_tokens":{tokens},"total_tokens":{}}}}}"#,
                tokens + 7
            ))));
        }
        steps.extend([Step::Send(event("[DONE]")), Step::Send(LAST_CHUNK.to_vec())]);
        steps
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;

    let answer = router.ask(&stream("")).await;

    assert_eq!(answer.text().matches("completion_tokens").count(), 4);
    let log = router.stop().await;
    assert!(log[0].contains(" tokens=8/4 "), "{}", log[0]);
}

#[tokio::test]
async fn protocols_with_reports_of_their_own_are_not_asked_for_more() {
    let completed = r#"{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":9,"total_tokens":12}}}"#;
    let engine = Engine::start(move |_, _| {
        vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event(completed)),
            Step::Send(LAST_CHUNK.to_vec()),
        ]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let body = r#"{"model":"m","input":"hi","stream":true}"#;

    let told = router.ask(&post("/v1/responses", body)).await;

    assert_eq!(told.text(), format!("data: {completed}\n\n"));
    assert_eq!(String::from_utf8_lossy(&engine.seen()[0].body), body);
    let log = router.stop().await;
    assert!(log[0].contains("/9 timings="), "{}", log[0]);
}

#[rstest]
#[case::too_long("x".repeat(257), false)]
#[case::as_long_as_it_may_be("x".repeat(256), true)]
#[case::empty(String::new(), false)]
#[tokio::test]
async fn the_clients_id_is_kept_unless_it_is_none(#[case] id: String, #[case] kept: bool) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;

    let told = router
        .ask(&post_with(
            CHAT,
            &format!("X-Request-Id: {id}\r\n"),
            r#"{"model":"m","prompt":"x"}"#,
        ))
        .await;

    let used = told.header("x-request-id").unwrap().to_owned();
    assert_eq!(used == id, kept, "{used}");
    let seen = &engine.seen()[0];
    assert_eq!(seen.header("x-request-id"), Some(used.as_str()));
    assert_eq!(seen.head.to_lowercase().matches("x-request-id").count(), 1);
}

#[tokio::test]
async fn an_engines_own_id_stands() {
    let engine = Engine::start(|_, _| {
        let plain = String::from_utf8(answer("200 OK", "application/json", "{}")).unwrap();
        let with_id = plain.replacen("\r\n", "\r\nX-Request-Id: engine\r\n", 1);
        vec![Step::Send(with_id.into_bytes())]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;

    let told = router.ask(&chat("m")).await;

    assert_eq!(told.headers("x-request-id"), ["engine"]);
}

#[tokio::test]
async fn what_concerns_the_connection_goes_no_further() {
    let engine = Engine::start(|_, _| {
        vec![Step::Send(
            b"HTTP/1.1 200 OK\r\nProxy-Authenticate: Basic\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\n\
              Proxy-Connection: keep-alive\r\nWarning: 1\r\nContent-Length: 2\r\n\r\n{}"
                .to_vec(),
        )]
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let gone = [
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    ];
    let headers: String = gone
        .iter()
        .map(|name| format!("{name}: x\r\n"))
        .chain(["Traceparent: t\r\n".to_owned()])
        .collect();

    let told = router
        .ask(&post_with(CHAT, &headers, r#"{"model":"m","prompt":"x"}"#))
        .await;

    let seen = &engine.seen()[0];
    for name in gone {
        assert_eq!(
            (seen.header(name), told.header(name)),
            (None, None),
            "{name}"
        );
    }
    assert_eq!(seen.header("traceparent"), Some("t"));
    assert_eq!(told.header("warning"), Some("1"));
}

#[tokio::test]
async fn an_old_client_need_not_name_a_host_but_engines_want_one() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let router = TestRouter::serving(&[&engine]).await;
    let body = r#"{"model":"m","prompt":"x"}"#;
    let length = body.len();
    let request = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");

    assert_eq!(router.ask(request.as_bytes()).await.status, 200);
    assert_eq!(router.ask(&chat("m")).await.status, 200);

    let hosts = engine.seen();
    assert_eq!(hosts[0].header("host"), Some("engine"));
    assert_eq!(hosts[1].header("host"), Some("router"));
    assert_eq!(hosts[1].head.to_lowercase().matches("\nhost:").count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_has_no_other_engine_asked() {
    let hang = || -> Script { Box::new(|_, _| vec![Step::UntilClosed]) };
    let engines = Engine::start_several(vec![hang(), hang()]).await;
    let router = TestRouter::serving(&[&engines[0], &engines[1]]).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    let asked = || {
        engines
            .iter()
            .map(|engine| engine.seen().len())
            .sum::<usize>()
    };
    crate::client::soon(async {
        while asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    drop(client);

    router.until_metric("kthena_router_active_requests 0").await;
    let upstream = series(&router, "kthena_router_active_upstream_requests{").await;
    assert!(
        upstream.iter().all(|line| line.ends_with(" 0")),
        "{upstream:?}"
    );
    assert_eq!(asked(), 1);
    let log = router.stop().await;
    assert!(log[0].contains(" upstream_attempts=1 "), "{}", log[0]);
}

#[tokio::test]
async fn series_of_a_model_go_with_its_route_and_its_last_request() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let engine = Engine::start(move |_, _| {
        let mut steps = vec![Step::Await(Arc::clone(&held))];
        steps.extend(ok("{}"));
        steps
    })
    .await;
    let router = TestRouter::serving(&[&engine]).await;
    let mut client = router.client().await;
    client.send(&chat("m")).await;
    engine.until_seen(1).await;

    router.publisher.publish(View::default().snapshot());

    let active = r#"kthena_router_active_downstream_requests{model="m"} 1"#;
    router.until_metric(active).await;
    gate.add_permits(1);
    assert_eq!(client.answer().await.status, 200);
    crate::client::soon(async {
        while router.metrics().await.contains(r#"model="m""#) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Upper bounds of a histogram's first series.
fn edges(metrics: &str, family: &str) -> Vec<String> {
    let prefix = format!("kthena_router_{family}_bucket{{");
    let bounds = metrics
        .lines()
        .filter(|line| line.starts_with(&prefix))
        .filter_map(|line| line.split_once("le=\"")?.1.split_once('"'))
        .map(|(bound, _)| bound.to_owned());
    let mut edges: Vec<String> = Vec::new();
    for bound in bounds {
        let is_last = bound == "+Inf";
        edges.push(bound);
        if is_last {
            break;
        }
    }
    edges
}

#[tokio::test]
async fn histograms_have_the_edges_that_dashboards_compute_with() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut config = config();
    config.queue.fairness = Some(kthena_router_filters::settings::FairnessConfig::default());
    let router = TestRouter::with(config, &[&engine], &json!({})).await;
    assert_eq!(router.ask(&chat("m")).await.status, 200);
    router.until_metric("kthena_router_active_requests 0").await;

    let metrics = router.metrics().await;

    for (family, wanted) in [
        (
            "request_duration_seconds",
            "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 +Inf",
        ),
        (
            "scheduler_plugin_duration_seconds",
            "0.001 0.005 0.01 0.05 0.1 0.5 +Inf",
        ),
        (
            "fairness_queue_duration_seconds",
            "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 +Inf",
        ),
    ] {
        let edges = edges(&metrics, family).join(" ");
        assert_eq!(edges, wanted, "{family}");
    }
}

#[tokio::test]
async fn a_provider_is_not_logged_as_a_model_server() {
    let mut view = View::default();
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {"modelName": "m", "rules": [{"targetModels": [{"externalModelProviderName": "p"}]}]},
    });
    view.apply_route(
        &serde_json::from_value::<kthena_api::model_route::ModelRoute>(route).unwrap(),
    );
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());

    let told: Value = router.ask(&chat("m")).await.json();

    assert_eq!(
        told["error"]["message"],
        "can't find external model provider: ns/p"
    );
    let log = router.stop().await;
    assert!(
        log[0].contains(" model_route=ns/r ") && !log[0].contains("model_server="),
        "{}",
        log[0]
    );
    assert!(log[0].contains("error=\"provider_discovery:"), "{}", log[0]);
}
