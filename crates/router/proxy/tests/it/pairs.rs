//! Requests that a prefill pod and a decode pod share.

use std::sync::Arc;
use std::time::Duration;

use kthena_router_pipeline::ErrorStyle;
use kthena_router_proxy::RouterConfig;
use kthena_router_view::{PodFacts, Snapshot, View};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::client::{Answer, CHAT, chat, post, post_with, soon};
use crate::engine::{Engine, LAST_CHUNK, STREAM_HEAD, Script, Seen, Step, answer, event, ok};
use crate::setup::{TestRouter, config};

const BIG: &str = r#"{"kv_transfer_params":{"remote_block_ids":[9007199254740993123],"z":1.0, "a":null},"id":"x"}"#;

/// A router whose pods are pairs: the engines at even places prefill, those at odd places decode, two by two in groups
/// of their own.
struct Pairs {
    router: TestRouter,
    engines: Vec<Engine>,
    snapshot: Arc<Snapshot>,
}

impl Pairs {
    async fn start(spec: Value, scripts: Vec<Script>) -> Self {
        Self::with(config(), spec, scripts).await
    }

    async fn with(config: RouterConfig, spec: Value, scripts: Vec<Script>) -> Self {
        let engines = Engine::start_several(scripts).await;
        let mut view = view(&engines[0], spec);
        for (number, engine) in engines.iter().enumerate() {
            let role = if number % 2 == 0 { "prefill" } else { "decode" };
            view.apply_pod(pod(number, engine, role, number / 2));
        }
        let snapshot = view.snapshot();
        let router = TestRouter::start(config).await;
        router.publisher.publish(Arc::clone(&snapshot));
        Self {
            router,
            engines,
            snapshot,
        }
    }

    /// Requests in flight at each pod, by name.
    fn in_flight(&self) -> Vec<u32> {
        let mut pods: Vec<_> = self.snapshot.server("ns/s").unwrap().pods().collect();
        pods.sort_by_key(|pod| Arc::clone(&pod.endpoint.pod().name));
        pods.iter().map(|pod| pod.endpoint.in_flight()).collect()
    }

    async fn until_idle(&self) {
        soon(async {
            while self.in_flight().iter().any(|count| *count > 0) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn seen(&self, engine: usize) -> Vec<Seen> {
        self.engines[engine].seen()
    }
}

/// A view with one route of model `m` to server `s`, whose pods on the port of `engine` are pairs.
pub(crate) fn view(engine: &Engine, spec: Value) -> View {
    let mut full = json!({
        "workloadSelector": {"matchLabels": {"app": "m"}, "pdGroup": {
            "groupKey": "group", "prefillLabels": {"role": "prefill"}, "decodeLabels": {"role": "decode"},
        }},
        "workloadPort": {"port": engine.address.port()},
    });
    if let (Value::Object(full), Value::Object(spec)) = (&mut full, spec) {
        full.extend(spec);
    }
    let mut view = View::default();
    let server = json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": full});
    view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "s"}]}]},
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    view
}

/// Pod `number`, which has a `role` in a `group`.
pub(crate) fn pod(number: usize, engine: &Engine, role: &str, group: usize) -> PodFacts {
    let labels = [("app", "m"), ("role", role), ("group", &group.to_string())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    PodFacts {
        namespace: "ns".to_owned(),
        name: format!("{number}-{role}"),
        uid: format!("uid-{number}"),
        labels: labels.into(),
        ready: true,
        address: Some(engine.address.ip()),
        started_unix: None,
    }
}

fn nixl() -> Value {
    json!({"kvConnector": {"type": "nixl"}})
}

fn sglang() -> Value {
    json!({"inferenceEngine": "SGLang"})
}

fn always(steps: Vec<Step>) -> Script {
    Box::new(move |_, _| steps.clone())
}

fn says(status: &str, body: &str) -> Vec<Step> {
    vec![Step::Send(answer(status, "application/json", body))]
}

fn streamed() -> Vec<Step> {
    vec![
        Step::Send(STREAM_HEAD.to_vec()),
        Step::Send(event(r#"{"choices":[{"delta":{"content":"a"}}]}"#)),
        Step::Send(event(
            r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":7,"total_tokens":11}}"#,
        )),
        Step::Send(event("[DONE]")),
        Step::Send(LAST_CHUNK.to_vec()),
    ]
}

fn stream_of(model: &str) -> Vec<u8> {
    post(
        CHAT,
        &format!(
            r#"{{"model":"{model}","stream":true,"max_tokens":9,"messages":[{{"role":"user","content":"hi"}}]}}"#
        ),
    )
}

#[tokio::test]
async fn prefill_first_then_the_stream_of_the_decode_pod() {
    let pairs = Pairs::start(
        json!({"model": "served"}),
        vec![always(ok("{}")), always(streamed())],
    )
    .await;
    let body = r#"{"model":"m","stream":true,"seed":9007199254740993123,"messages":[{"role":"user","content":"hi"}]}"#;
    let request = post_with("/v1/chat/completions?x=1", "X-Request-Id: id-1\r\n", body);

    let answer = pairs.router.ask(&request).await;

    assert!(answer.complete && answer.status == 200, "{}", answer.text());
    assert!(!answer.text().contains("usage"), "{}", answer.text());
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let (prefill, decode) = (&pairs.seen(0)[0], &pairs.seen(1)[0]);
    assert_eq!(
        String::from_utf8_lossy(&prefill.body),
        r#"{"max_tokens":1,"model":"served","seed":9007199254740993123,"messages":[{"role":"user","content":"hi"}]}"#
    );
    assert_eq!(
        String::from_utf8_lossy(&decode.body),
        r#"{"stream_options":{"include_usage":true},"model":"served","stream":true,"seed":9007199254740993123,"messages":[{"role":"user","content":"hi"}]}"#
    );
    for half in [prefill, decode] {
        assert!(half.head.starts_with("POST /v1/chat/completions?x=1 "));
        assert_eq!(half.header("x-request-id"), Some("id-1"));
    }
    pairs.until_idle().await;
    let labels = r#"{model="m",path="/v1/chat/completions",status_code="200"}"#;
    for phase in ["prefill", "decode"] {
        let line = format!("kthena_router_request_{phase}_duration_seconds_count{labels} 1");
        pairs.router.until_metric(&line).await;
    }
    let log = pairs.router.stop().await;
    assert!(
        log[0].contains("selected_pod=1-decode") && log[0].contains("/7 timings="),
        "{}",
        log[0]
    );
}

#[rstest]
#[case::nixl("nixl")]
#[case::mooncake("mooncake")]
#[tokio::test]
async fn transfer_parameters_travel_untouched(#[case] kind: &str) {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        &BIG[..5],
        BIG.len() - 5,
        &BIG[5..]
    );
    let prefill = always(vec![Step::Send(chunked.into_bytes())]);
    let pairs = Pairs::start(
        json!({"kvConnector": {"type": kind}}),
        vec![prefill, always(ok("{}"))],
    )
    .await;

    let mut client = pairs.router.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(&chat("m")).await.status, 200);
    }

    let asked = pairs.seen(0)[0].json();
    assert_eq!(
        asked["kv_transfer_params"],
        json!({"do_remote_decode": true, "do_remote_prefill": false})
    );
    let decode = String::from_utf8(pairs.seen(1)[0].body.clone()).unwrap();
    assert!(
        decode.contains(
            r#""kv_transfer_params":{"remote_block_ids":[9007199254740993123],"z":1.0, "a":null},"#
        ),
        "{decode}"
    );
    let connections: Vec<_> = pairs.seen(0).iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0], "the prefill connection is used again");
}

#[tokio::test]
async fn both_halves_meet_in_a_fresh_room() {
    let gate = Arc::new(Semaphore::new(0));
    let waits = {
        let gate = Arc::clone(&gate);
        Box::new(move |_, _: &Seen| {
            let mut steps = vec![Step::Await(Arc::clone(&gate))];
            steps.extend(ok("{}"));
            steps
        })
    };
    let pairs = Pairs::start(sglang(), vec![waits, always(streamed())]).await;
    let mut client = pairs.router.client().await;
    client.send(&stream_of("m")).await;

    // The client is served while the prefill half has not answered.
    client.until("[DONE]").await;
    pairs.engines[0].until_seen(1).await;
    assert_eq!(pairs.in_flight()[0], 1, "prefill goes on");
    gate.add_permits(1);
    let answer = client.answer().await;
    assert!(answer.complete);
    pairs.until_idle().await;
    gate.add_permits(1);
    client.ask(&stream_of("m")).await;

    let halves = |at: usize| (pairs.seen(0)[at].json(), pairs.seen(1)[at].json());
    let (prefill, decode) = halves(0);
    let host = pairs.engines[0].address.ip().to_string();
    assert_eq!(prefill["bootstrap_room"], decode["bootstrap_room"]);
    assert!(i64::try_from(prefill["bootstrap_room"].as_u64().unwrap()).is_ok());
    assert_eq!(decode["bootstrap_host"], host);
    assert!(prefill.get("bootstrap_host").is_none());
    assert_ne!(prefill["bootstrap_room"], halves(1).0["bootstrap_room"]);
}

#[rstest]
#[case::in_turn(json!({}))]
#[case::together(sglang())]
#[tokio::test]
async fn an_engines_complaint_about_the_prompt_is_the_clients(#[case] spec: Value) {
    let prefill = always(says("400 Bad Request", "\"too long\""));
    let decode = always(vec![Step::UntilClosed]);
    let pairs = Pairs::start(spec, vec![prefill, decode]).await;

    let answer = pairs.router.ask(&chat("m")).await;

    assert_eq!((answer.status, answer.text()), (400, "\"too long\""));
    pairs.until_idle().await;
    let log = pairs.router.stop().await;
    assert!(log[0].contains("selected_pod=0-prefill"), "{}", log[0]);
}

#[rstest]
#[case::prefill_closes(json!({}), 0, vec![Step::Close])]
#[case::prefill_is_busy(json!({}), 0, says("503 Service Unavailable", "{}"))]
#[case::prefill_breaks_off(json!({}), 0, vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()), Step::Close])]
#[case::prefill_answer_is_no_object(nixl(), 0, says("200 OK", "[]"))]
#[case::decode_resets(json!({}), 1, vec![Step::Reset])]
#[case::decode_is_busy(nixl(), 1, says("429 Too Many Requests", "{}"))]
#[case::prefill_closes_beside(sglang(), 0, vec![Step::Close])]
#[case::decode_closes_beside(sglang(), 1, vec![Step::Close])]
#[case::decode_breaks_off_before_a_byte(sglang(), 1, vec![Step::Send(STREAM_HEAD.to_vec()), Step::Close])]
#[tokio::test]
async fn another_pair_answers(#[case] spec: Value, #[case] half: usize, #[case] fault: Vec<Step>) {
    let good = || always(ok(BIG));
    let faulty = || always(fault.clone());
    let scripts = if half == 0 {
        vec![faulty(), always(vec![Step::UntilClosed]), good(), good()]
    } else {
        vec![good(), faulty(), good(), good()]
    };
    // Where prefill comes first the decode pod of the failing pair is never asked; where both go at once it hangs until
    // it is given up.
    let pairs = Pairs::start(spec, scripts).await;

    soon(async {
        // Which pair is first is drawn by lot.
        loop {
            let answer = pairs.router.ask(&chat("m")).await;
            assert_eq!((answer.status, answer.text()), (200, BIG));
            if !pairs.seen(half).is_empty() {
                return;
            }
        }
    })
    .await;

    pairs.until_idle().await;
}

#[rstest]
#[case::in_turn(json!({}))]
#[case::together(sglang())]
#[tokio::test]
async fn when_no_pair_answers(#[case] spec: Value) {
    let scripts = || vec![always(vec![Step::Close]), always(vec![Step::Close])];
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    let pairs = Pairs::start(spec.clone(), scripts()).await;
    let old = Pairs::with(legacy, spec, scripts()).await;

    let answer = pairs.router.ask(&chat("m")).await;
    let old_answer = old.router.ask(&chat("m")).await;

    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.json()["error"]["message"],
        "all prefill/decode attempts failed"
    );
    assert_eq!(
        (old_answer.status, old_answer.text()),
        (500, "\"all prefill/decode attempts failed\"")
    );
    let labels = r#"{model="m",path="/v1/chat/completions",status_code="500"}"#;
    let line = format!("kthena_router_request_prefill_duration_seconds_count{labels} 1");
    pairs.router.until_metric(&line).await;
    pairs.until_idle().await;
}

#[tokio::test]
async fn a_decode_half_that_fails_takes_the_prefill_half_with_it() {
    let prefill = always(vec![Step::UntilClosed]);
    let decode = always(says("400 Bad Request", "\"no\""));
    let pairs = Pairs::start(sglang(), vec![prefill, decode]).await;

    let answer = pairs.router.ask(&chat("m")).await;

    assert_eq!((answer.status, answer.text()), (400, "\"no\""));
    pairs.engines[0].until_closed(1).await;
    pairs.until_idle().await;
}

#[tokio::test]
async fn a_prefill_half_that_fails_early_takes_the_decode_half_with_it() {
    let prefill = always(vec![Step::Close]);
    let decode = always(vec![Step::Send(STREAM_HEAD.to_vec()), Step::UntilClosed]);
    let pairs = Pairs::start(sglang(), vec![prefill, decode]).await;

    let answer = pairs.router.ask(&stream_of("m")).await;

    assert_eq!(answer.status, 502);
    pairs.until_idle().await;
    let opened = pairs.seen(1).len();
    pairs.engines[1].until_closed(opened).await;
}

#[tokio::test]
async fn a_prefill_half_that_fails_late_is_only_counted() {
    let gate = Arc::new(Semaphore::new(0));
    let late = {
        let gate = Arc::clone(&gate);
        Box::new(move |_, _: &Seen| vec![Step::Await(Arc::clone(&gate)), Step::Close])
    };
    let pairs = Pairs::start(sglang(), vec![late, always(streamed())]).await;
    let mut client = pairs.router.client().await;
    client.send(&stream_of("m")).await;
    client.until("[DONE]").await;
    gate.add_permits(1);

    let answer = client.answer().await;

    assert!(answer.status == 200 && answer.complete);
    let labels = r#"{model="m",path="/v1/chat/completions",status_code="500"}"#;
    let line = format!("kthena_router_request_prefill_duration_seconds_count{labels} 1");
    pairs.router.until_metric(&line).await;
    assert_eq!(pairs.seen(1).len(), 1, "nothing is answered twice");
    pairs.until_idle().await;
}

#[rstest]
#[case::in_turn(json!({}), 1)]
#[case::together(sglang(), 2)]
#[tokio::test]
async fn a_client_that_leaves_ends_what_is_under_way(#[case] spec: Value, #[case] halves: usize) {
    let hangs = || always(vec![Step::UntilClosed]);
    let pairs = Pairs::start(spec, vec![hangs(), hangs()]).await;
    let mut client = pairs.router.client().await;
    client.send(&chat("m")).await;
    for engine in &pairs.engines[..halves] {
        engine.until_seen(1).await;
    }

    drop(client);

    for engine in &pairs.engines[..halves] {
        engine.until_closed(1).await;
    }
    pairs.until_idle().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_both_halves() {
    let decode = vec![
        Step::Send(STREAM_HEAD.to_vec()),
        Step::Send(event("{\"a\":1}")),
        Step::UntilClosed,
    ];
    let pairs = Pairs::start(
        sglang(),
        vec![always(vec![Step::UntilClosed]), always(decode)],
    )
    .await;
    let mut client = pairs.router.client().await;
    client.send(&stream_of("m")).await;
    client.until("\"a\"").await;

    drop(client);

    pairs.engines[0].until_closed(1).await;
    pairs.engines[1].until_closed(1).await;
    pairs.until_idle().await;
}

#[rstest]
#[case::in_turn(json!({}))]
#[case::together(sglang())]
#[tokio::test]
async fn a_stream_that_breaks_is_not_begun_again(#[case] spec: Value) {
    let breaks = || {
        always(vec![
            Step::Send(STREAM_HEAD.to_vec()),
            Step::Send(event("{\"a\":1}")),
            Step::Close,
        ])
    };
    let good = || always(ok("{}"));
    let pairs = Pairs::start(spec, vec![good(), breaks(), good(), breaks()]).await;

    let answer: Answer = pairs.router.ask(&stream_of("m")).await;

    assert!(answer.status == 200 && !answer.complete);
    assert_eq!(answer.text().matches("\"a\"").count(), 1);
    assert_eq!(pairs.seen(1).len() + pairs.seen(3).len(), 1);
    let labels = r#"{model="m",path="/v1/chat/completions",status_code="500"}"#;
    let line = format!("kthena_router_request_decode_duration_seconds_count{labels} 1");
    pairs.router.until_metric(&line).await;
    pairs.until_idle().await;
}

#[tokio::test]
async fn a_pod_is_busy_only_during_its_own_half() {
    let [prefills, decodes] = [0, 0].map(|permits| Arc::new(Semaphore::new(permits)));
    let gated = |gate: &Arc<Semaphore>| -> Script {
        let gate = Arc::clone(gate);
        Box::new(move |_, _| {
            let mut steps = vec![Step::Await(Arc::clone(&gate))];
            steps.extend(ok("{}"));
            steps
        })
    };
    let pairs = Pairs::start(json!({}), vec![gated(&prefills), gated(&decodes)]).await;
    let mut client = pairs.router.client().await;
    client.send(&chat("m")).await;

    pairs.engines[0].until_seen(1).await;
    assert_eq!(pairs.in_flight(), [1, 0]);
    prefills.add_permits(1);
    pairs.engines[1].until_seen(1).await;
    assert_eq!(pairs.in_flight(), [0, 1]);
    decodes.add_permits(1);
    assert_eq!(client.answer().await.status, 200);
    pairs.until_idle().await;
}

#[tokio::test]
async fn the_time_limit_of_whole_requests_does_not_cut_a_long_prefill() {
    let gate = Arc::new(Semaphore::new(0));
    let slow = {
        let gate = Arc::clone(&gate);
        Box::new(move |_, _: &Seen| {
            let mut steps = vec![Step::Await(Arc::clone(&gate))];
            steps.extend(ok("{}"));
            steps
        })
    };
    let spec = json!({"trafficPolicy": {"timeout": "10ms"}});
    let pairs = Pairs::start(spec, vec![slow, always(ok("\"good\""))]).await;
    let mut client = pairs.router.client().await;
    client.send(&chat("m")).await;
    pairs.engines[0].until_seen(1).await;

    // Twenty times the limit passes.
    let early = tokio::time::timeout(Duration::from_millis(200), client.answer()).await;
    assert!(early.is_err(), "the prefill was cut");
    gate.add_permits(1);

    assert_eq!(client.answer().await.text(), "\"good\"");
}

#[rstest]
#[case::no_decode_pod(&[("prefill", 0)], 503, 400, "can't schedule to target pod: no decode pod found")]
#[case::no_partner_in_the_group(&[("prefill", 0), ("decode", 1)], 503, 400, "can't schedule to target pod: no valid prefill-decode pod pairs found")]
#[case::nobody(&[], 503, 503, "no available pods for model server: ns/s")]
#[tokio::test]
async fn pods_that_make_no_pair(
    #[case] pods: &[(&str, usize)],
    #[case] status: u16,
    #[case] legacy_status: u16,
    #[case] message: &str,
) {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let mut view = view(&engine, json!({}));
    for (number, (role, group)) in pods.iter().enumerate() {
        view.apply_pod(pod(number, &engine, role, *group));
    }
    let mut legacy = config();
    legacy.error_style = ErrorStyle::Legacy;
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());
    let old = TestRouter::start(legacy).await;
    old.publisher.publish(view.snapshot());

    let answer = router.ask(&chat("m")).await;
    let old_answer = old.ask(&chat("m")).await;

    assert_eq!(answer.status, status);
    assert_eq!(answer.json()["error"]["message"], message);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        (old_answer.status, old_answer.text()),
        (legacy_status, format!("\"{message}\"").as_str())
    );
    assert!(engine.seen().is_empty());
}

#[tokio::test]
async fn a_pair_is_explained() {
    let mut config = config();
    config.explain = true;
    let pairs = Pairs::with(config, nixl(), vec![always(ok("{}")), always(ok("{}"))]).await;
    let asking = post_with(
        CHAT,
        "x-kthena-explain: 1\r\n",
        r#"{"model":"m","messages":[]}"#,
    );

    let answer = pairs.router.ask(&asking).await;

    assert_eq!(
        answer.header("x-kthena-explain"),
        Some(
            "route ns/r rules[0] -> server ns/s -> connector nixl -> pod 1-decode: the only pod \
             (1-decode 100: least-request 100, in flight 0 + prefill 0-prefill 100: least-request 100, in flight 0)"
        )
    );
}
