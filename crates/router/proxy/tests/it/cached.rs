//! Requests go where their prompt is cached, as engines tell by their events.

mod own_tokens;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kthena_engine_sim::EngineConfig;
use kthena_router_proxy::{
    EventSource, KvConfig, KvSource, RedisAddress, RouterConfig, SchedulerConfig, SchedulingConfig,
    ScrapeConfig, TokensConfig,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, get, post, post_with, soon};
use crate::engine::{Engine, Script, ok};
use crate::setup::{TestRouter, config, view_of};

const COMPLETIONS: &str = "/v1/completions";
const REPEATS: u32 = 8;

/// Without knowledge of caches idle engines are equal. A request that ended may be counted a moment longer, so caches
/// weigh more than requests in flight.
pub(crate) fn by_cache(kv: KvSource) -> RouterConfig {
    let text = "scheduler: {plugins: {Score: {enabled: [{name: least-request, weight: 1}, \
                {name: kvcache-aware, weight: 2}]}}}";
    RouterConfig {
        scheduling: SchedulingConfig {
            config: SchedulerConfig::read(text).unwrap().config,
            file: None,
        },
        kv: Some(KvConfig {
            source: kv,
            tokens: TokensConfig {
                // A busy machine must not look like a slow engine.
                budget: Duration::from_secs(15),
                ..TokensConfig::default()
            },
        }),
        explain: true,
        ..config()
    }
}

/// Events that engines publish at `port`.
pub(crate) fn events(port: u16) -> KvSource {
    KvSource::Events(EventSource {
        port,
        ranks: 1,
        topic: String::new(),
        replay_port: None,
        budget: 64 << 20,
    })
}

/// Simulated engines on one port of several addresses.
pub(crate) struct Engines {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where each of them publishes its events.
    pub(crate) events: u16,
    shutdown: CancellationToken,
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Engines {
    pub(crate) async fn start(count: u8) -> Self {
        let mut engines = Self {
            addresses: Vec::new(),
            events: 0,
            shutdown: CancellationToken::new(),
        };
        for number in 1..=count {
            let host = IpAddr::from([127, 0, 0, number]);
            let port = engines.addresses.first().map_or(0, SocketAddr::port);
            let listener = TcpListener::bind((host, port)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let events = json!({
                "enable_kv_cache_events": true,
                "topic": "kv-events",
                "endpoint": format!("tcp://*:{}", engines.events),
            });
            let line = ["tiny", "--served-model-name", "m", "--sim-speed", "100"];
            let mut line: Vec<String> = line.into_iter().map(str::to_owned).collect();
            line.extend(["--kv-events-config".to_owned(), events.to_string()]);
            let (mut config, _) = EngineConfig::from_engine_args(&line).unwrap();
            config.host = host;
            let shutdown = engines.shutdown.clone();
            tokio::spawn(kthena_engine_sim::serve(config, listener, shutdown));
            let sockets = Client::connect(address)
                .await
                .ask(&get("/sim/sockets"))
                .await;
            let socket = sockets.json()["kv_events"].as_str().unwrap().to_owned();
            engines.events = socket.rsplit(':').next().unwrap().parse().unwrap();
            engines.addresses.push(address);
        }
        engines
    }

    /// Waits until the router hears every engine, which shows by an event it cannot have missed.
    async fn until_heard(&self, router: &TestRouter) {
        for address in &self.addresses {
            let before = value(router, "kv_event_batches_total").await;
            let heard = async {
                while value(router, "kv_event_batches_total").await == before {
                    let reset = post("/reset_prefix_cache", "{}");
                    Client::connect(*address).await.ask(&reset).await;
                }
            };
            soon(heard).await;
        }
    }

    /// Waits until the router hears every engine and knows that the first of them holds something.
    pub(crate) async fn until_known(&self, router: &TestRouter) {
        self.until_heard(router).await;
        let mut engine = Client::connect(self.addresses[0]).await;
        assert_eq!(engine.ask(&prompt("held")).await.status, 200);
        soon(async { while value(router, "kv_index_blocks").await == 0 {} }).await;
    }
}

/// The value of a family that has one series.
pub(crate) async fn value(router: &TestRouter, name: &str) -> u64 {
    let name = format!("kthena_router_{name} ");
    let text = router.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    let value = line.and_then(|value| value.parse().ok());
    value.expect("the family has one series")
}

/// A prompt of many blocks that begins with `word`.
pub(crate) fn prompt(word: &str) -> Vec<u8> {
    let prompt = format!("{word} ").repeat(200);
    let body = json!({"model": "m", "prompt": prompt, "max_tokens": 1});
    post_with(COMPLETIONS, "x-kthena-explain: 1\r\n", &body.to_string())
}

/// The pod that answers, and why it was chosen.
pub(crate) async fn answered_by(router: &TestRouter, request: &[u8]) -> (String, String) {
    let answer = router.ask(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.header("x-kthena-explain").unwrap().to_owned();
    let (_, pod) = told.split_once("-> pod ").unwrap();
    let pod = pod.split([':', ' ']).next().unwrap().to_owned();
    (pod, told)
}

#[tokio::test]
async fn a_prompt_goes_where_it_is_cached() {
    let engines = Engines::start(2).await;
    let mut config = by_cache(events(engines.events));
    config.scrape = Some(ScrapeConfig::default());
    let router = TestRouter::start(config).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    engines.until_heard(&router).await;

    for word in ["one", "other"] {
        let before = value(&router, "kv_index_blocks").await;
        let (first, _) = answered_by(&router, &prompt(word)).await;
        soon(async { while value(&router, "kv_index_blocks").await < before + 10 {} }).await;
        for _ in 0..REPEATS {
            let (pod, told) = answered_by(&router, &prompt(word)).await;
            assert_eq!(pod, first, "{told}");
        }
    }

    let text = router.metrics().await;
    // Before the first block was announced there was nothing to ask for.
    let asked = 2 * (REPEATS + 1) - 1;
    for line in [
        format!(r#"kthena_router_kvcache_aware_match_ratio_count{{model="m"}} {asked}"#),
        r#"kthena_router_kvcache_aware_match_ratio_bucket{model="m",le="0"} 1"#.to_owned(),
        format!(
            r#"kthena_router_kvcache_aware_tokenize_duration_seconds_count{{model="m"}} {asked}"#
        ),
        "kthena_router_kv_index_engines 2".to_owned(),
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "{line}\nin\n{text}"
        );
    }
    assert!(!text.contains("kvcache_aware_errors_total{"), "{text}");
    soon(async { while value(&router, "engine_scrapes_total").await < 2 {} }).await;
    assert_eq!(value(&router, "engine_scrape_failures_total").await, 0);
}

/// Nobody listens there.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn redis(port: u16) -> KvSource {
    KvSource::Redis {
        address: RedisAddress {
            host: "127.0.0.1".to_owned(),
            port,
            database: 0,
            password: None,
        },
        budget: Duration::from_millis(50),
    }
}

/// How often requests went without knowledge for what happened there.
async fn until_failed(router: &TestRouter, stage: &str, times: u32) {
    let line =
        format!(r#"kthena_router_kvcache_aware_errors_total{{model="m",stage="{stage}"}} {times}"#);
    router.until_metric(&line).await;
}

#[tokio::test]
async fn a_redis_that_is_down_costs_nothing_but_the_score() {
    let engines = Engine::start_several(vec![idle(), idle()]).await;
    let config = by_cache(redis(closed_port().await));
    let router = TestRouter::with(config, &[&engines[0], &engines[1]], &json!({})).await;

    for _ in 0..REPEATS {
        answered_by(&router, &prompt("word")).await;
    }

    until_failed(&router, "redis", REPEATS).await;
    assert_eq!(tokenized(&engines), 0, "nobody could be asked about them");
}

#[tokio::test]
async fn engines_that_publish_nothing_are_not_asked_for_tokens() {
    let engines = Engine::start_several(vec![idle(), idle()]).await;
    let config = by_cache(events(closed_port().await));
    let router = TestRouter::with(config, &[&engines[0], &engines[1]], &json!({})).await;

    for _ in 0..REPEATS {
        answered_by(&router, &prompt("word")).await;
    }

    assert_eq!(tokenized(&engines), 0);
    let text = router.metrics().await;
    assert!(!text.contains("kvcache_aware_errors_total{"), "{text}");
}

#[tokio::test]
async fn tokens_that_are_not_to_be_had_cost_nothing_but_the_score() {
    let engines = Engines::start(1).await;
    let mut config = by_cache(events(engines.events));
    let text = format!(
        "scheduler: {{plugins: {{Score: {{enabled: [{{name: kvcache-aware, weight: 1}}]}}}}, \
         pluginConfig: [{{name: kvcache-aware, args: {{vllmTokenizerPort: {}}}}}]}}",
        closed_port().await
    );
    config.scheduling.config = SchedulerConfig::read(&text).unwrap().config;
    let router = TestRouter::start(config).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    engines.until_known(&router).await;

    for _ in 0..REPEATS {
        answered_by(&router, &prompt("word")).await;
    }

    until_failed(&router, "tokenize", REPEATS).await;
}

/// An engine that answers anything.
fn idle() -> Script {
    Box::new(|_, _| ok("{}"))
}

/// How often engines were asked for tokens.
fn tokenized(engines: &[Engine]) -> usize {
    let asked = engines.iter().flat_map(Engine::seen);
    asked
        .filter(|seen| seen.head.starts_with("POST /tokenize "))
        .count()
}

#[tokio::test]
async fn a_prompt_with_a_cache_of_its_own_is_not_asked_about() {
    let engines = Engines::start(1).await;
    let router = TestRouter::start(by_cache(events(engines.events))).await;
    let mut view = view_of(&engines.addresses, &json!({}));
    router.publisher.publish(view.snapshot());
    let text = r#"say "cache_salt" aloud"#;
    let salted = json!({"model": "m", "prompt": text, "max_tokens": 1, "cache_salt": "pepper"});
    let shared = json!({"model": "m", "prompt": text, "max_tokens": 1});
    let tokenized = r#"kthena_router_kvcache_aware_tokenize_duration_seconds_count{model="m"} "#;
    engines.until_known(&router).await;

    for body in [&salted, &shared] {
        let answer = router.ask(&post(COMPLETIONS, &body.to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    router.until_metric(&format!("{tokenized}1")).await;
}
