//! The simulated engine behind the router, as in local mode.

use std::net::SocketAddr;
use std::sync::Arc;

use kthena_engine_sim::EngineConfig;
use kthena_router_view::{PodFacts, View};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::{CHAT, Client, post, soon};
use crate::setup::{TestRouter, config};

struct Simulated {
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn simulated(speed: &str) -> Simulated {
    let arguments = [
        "tiny",
        "--served-model-name",
        "served",
        "--sim-speed",
        speed,
    ]
    .map(str::to_owned);
    let (config, _) = EngineConfig::from_engine_args(&arguments).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(kthena_engine_sim::serve(config, listener, shutdown.clone()));
    Simulated { address, shutdown }
}

async fn router(engine: &Simulated) -> TestRouter {
    let router = TestRouter::start(config()).await;
    let mut view = View::default();
    let server = json!({
        "metadata": {"namespace": "ns", "name": "s"},
        "spec": {
            "model": "served",
            "workloadSelector": {"matchLabels": {"app": "m"}},
            "workloadPort": {"port": engine.address.port()},
        },
    });
    view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "s"}]}]},
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    view.apply_pod(PodFacts {
        namespace: "ns".to_owned(),
        name: "pod-0".to_owned(),
        uid: "1".to_owned(),
        labels: [("app".to_owned(), "m".to_owned())].into(),
        ready: true,
        address: Some(engine.address.ip()),
        started_unix: None,
    });
    router.publisher.publish(view.snapshot());
    router
}

fn chat(more: &str) -> Vec<u8> {
    post(
        CHAT,
        &format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hello"}}]{more}}}"#),
    )
}

#[tokio::test]
async fn a_chat_is_answered_whole_and_streamed() {
    let engine = simulated("100").await;
    let router = router(&engine).await;
    let mut client = router.client().await;

    let whole = client.ask(&chat(r#","max_tokens":8"#)).await;
    assert_eq!(
        (whole.status, whole.json()["model"].as_str()),
        (200, Some("served")),
        "{}",
        whole.text()
    );
    assert_eq!(whole.json()["usage"]["completion_tokens"], 8);

    let streamed = client.ask(&chat(r#","max_tokens":8,"stream":true"#)).await;
    assert!(
        streamed.complete && streamed.text().ends_with("data: [DONE]\n\n"),
        "{}",
        streamed.text()
    );
    assert!(
        !streamed.text().contains("\"total_tokens\""),
        "{}",
        streamed.text()
    );

    let log = router.stop().await;
    assert!(
        log.iter().all(|line| line.contains("/8 timings=")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn an_engines_complaint_reaches_the_client() {
    let engine = simulated("100").await;
    let router = router(&engine).await;

    let answer = router.ask(&chat(r#","max_tokens":-1"#)).await;

    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn a_cancelled_stream_stops_the_engines_work() {
    let engine = simulated("1").await;
    let router = router(&engine).await;
    let mut client = router.client().await;
    client
        .send(&chat(r#","max_tokens":4000,"stream":true"#))
        .await;
    client.until("\"content\"").await;

    drop(client);

    soon(async {
        loop {
            let metrics = Client::connect(engine.address)
                .await
                .ask(&crate::client::get("/metrics"))
                .await;
            let running = metrics
                .text()
                .lines()
                .find(|line| line.starts_with("vllm:num_requests_running{"))
                .unwrap();
            if running.ends_with(" 0") || running.ends_with(" 0.0") {
                return;
            }
        }
    })
    .await;
}
