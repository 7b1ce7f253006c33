//! The sidecar over HTTP, beside a simulated engine.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kthena_engine_sim::EngineConfig;
use kthena_kv_events::redis::RedisAddress;
use kthena_sidecar::{Engine, SidecarConfig};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

struct Pod {
    sidecar: String,
    engine: String,
    client: reqwest::Client,
    stop: CancellationToken,
    _guard: DropGuard,
}

fn config(engine_url: String, root: PathBuf) -> SidecarConfig {
    SidecarConfig {
        engine: Engine::Vllm,
        engine_url,
        metrics_path: "/metrics".to_owned(),
        pod: String::new(),
        model: String::new(),
        request_timeout: Duration::from_secs(20),
        events: Vec::new(),
        topic: String::new(),
        redis: RedisAddress {
            host: "127.0.0.1".to_owned(),
            port: 1,
            database: 0,
            password: None,
        },
        download_roots: vec![root],
    }
}

async fn pod(root: PathBuf) -> Pod {
    let stop = CancellationToken::new();
    let line = "vllm serve tiny --enable-lora --sim-speed 100".split(' ');
    let args: Vec<String> = line.map(str::to_owned).collect();
    let (engine_config, _) = EngineConfig::from_engine_args(&args).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = format!("http://{}", listener.local_addr().unwrap());
    let serving = kthena_engine_sim::serve(engine_config, listener, stop.clone());
    tokio::spawn(serving);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = format!("http://{}", listener.local_addr().unwrap());
    let config = config(engine.clone(), root);
    tokio::spawn(kthena_sidecar::run(config, listener, stop.clone()));
    Pod {
        sidecar,
        engine,
        client: reqwest::Client::new(),
        _guard: stop.clone().drop_guard(),
        stop,
    }
}

impl Pod {
    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.sidecar);
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.sidecar);
        let answer = self.client.post(url).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn models(&self) -> Vec<String> {
        let url = format!("{}/v1/models", self.engine);
        let answer = self.client.get(url).send().await.unwrap();
        let models: Value = answer.json().await.unwrap();
        let models = models["data"].as_array().unwrap();
        let ids = models.iter().map(|model| model["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn says_that_it_is_there() {
    let pod = pod("/".into()).await;
    let (status, body) = pod.get("/health").await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({"status": "healthy", "service": "runtime"}));
    let (status, body) = pod.get("/nothing").await;
    assert_eq!((status, body.as_str()), (404, r#"{"detail":"Not Found"}"#));
}

#[tokio::test]
async fn metrics_have_both_names() {
    let pod = pod("/".into()).await;
    let (status, body) = pod.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("\nvllm:num_requests_waiting{"));
    assert!(body.contains("\nkthena:num_requests_waiting{"));
    assert!(body.contains("\nkthena:generation_tokens_total{"));
}

#[tokio::test]
async fn an_engine_that_is_gone_is_a_bad_gateway() {
    let pod = pod("/".into()).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = format!("http://{}", listener.local_addr().unwrap());
    let config = config(nobody, "/".into());
    tokio::spawn(kthena_sidecar::run(config, listener, pod.stop.clone()));
    let answer = pod
        .client
        .get(format!("{sidecar}/metrics"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 502);
    let body: Value = answer.json().await.unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("Failed to fetch metrics from engine: "),
        "{detail}"
    );
}

#[tokio::test]
async fn an_adapter_is_fetched_loaded_and_unloaded() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("adapter.bin"), "weights").unwrap();
    let target = folder.path().join("adapters/sql");
    let pod = pod(folder.path().to_path_buf()).await;

    let load = json!({
        "lora_name": "sql", "source": source, "output_dir": target, "config": {"hf_token": "x"},
    });
    let (status, body) = pod.post("/v1/load_lora_adapter", &load).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        fs::read_to_string(target.join("adapter.bin")).unwrap(),
        "weights"
    );
    assert!(pod.models().await.contains(&"sql".to_owned()));

    let (status, body) = pod.post("/v1/load_lora_adapter", &load).await;
    assert_eq!(status, 400);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.starts_with("HTTP 400: "), "{detail}");

    let unload = json!({"lora_name": "sql"});
    assert_eq!(pod.post("/v1/unload_lora_adapter", &unload).await.0, 200);
    assert!(!pod.models().await.contains(&"sql".to_owned()));
    assert_eq!(pod.post("/v1/unload_lora_adapter", &unload).await.0, 404);

    // What is there already need not be fetched.
    let load = json!({"lora_name": "sql", "output_dir": target});
    assert_eq!(pod.post("/v1/load_lora_adapter", &load).await.0, 200);
}

#[tokio::test]
async fn a_download_in_the_background_is_accepted_and_done() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("model.bin"), "weights").unwrap();
    let target = folder.path().join("model");
    let pod = pod(folder.path().to_path_buf()).await;
    let ask = json!({"source": source, "output_dir": target, "async_download": true});
    let (status, body) = pod.post("/v1/download_model", &ask).await;
    assert_eq!((status, &body["status"]), (202, &json!("started")));
    let done = async {
        while !target.join("model.bin").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done)
        .await
        .unwrap();
    let again = json!({"source": source, "output_dir": target, "config": "{}"});
    let (status, body) = pod.post("/v1/download_model", &again).await;
    assert_eq!((status, &body["status"]), (200, &json!("completed")));
}

#[tokio::test]
async fn a_file_is_fetched_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let pod = pod(folder.path().to_path_buf()).await;
    let ask = json!({
        "source": format!("{}/version", pod.engine), "output_dir": folder.path().join("model"),
    });
    let (status, body) = pod.post("/v1/download_model", &ask).await;
    assert_eq!(status, 200, "{body}");
    let text = fs::read_to_string(folder.path().join("model/version")).unwrap();
    assert!(text.contains("version"), "{text}");
}

#[rstest]
#[case::no_source(json!({"output_dir": "/tmp/x"}), 400, "Missing required parameter: source")]
#[case::no_target(json!({"source": "/x"}), 400, "Missing required parameter: output_dir")]
#[case::config_is_a_list(json!({"source": "/x", "output_dir": "/tmp/x", "config": []}), 400, "Invalid configuration")]
#[case::elsewhere(json!({"source": "/x", "output_dir": "/etc"}), 400, "Download failed: /etc")]
#[case::hub(json!({"source": "org/model", "output_dir": "/tmp/x"}), 400, "not supported")]
#[tokio::test]
async fn refuses_downloads(#[case] ask: Value, #[case] status: u16, #[case] detail: &str) {
    let pod = pod("/tmp".into()).await;
    let (answered, body) = pod.post("/v1/download_model", &ask).await;
    assert_eq!(answered, status);
    let told = body["detail"].as_str().unwrap();
    assert!(told.contains(detail), "{told}");
}
