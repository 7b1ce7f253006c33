//! The router on a real API server: what is created there is served, what is deleted is not.

use kthena_api::model_route::ModelRoute;
use kthena_api::model_server::ModelServer;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_router_proxy::{ProxyError, Router, RouterConfig};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use k8s_openapi::api::core::v1::Pod;

use crate::client::{Answer, CHAT, Client, get, post_with, soon};
use crate::engine::{Engine, Script, ok};
use crate::setup::config;

const NAMESPACE: &str = "default";

/// An API server and a router that follows it.
struct Cluster {
    server: ApiServer,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), ProxyError>>,
    _folder: TempDir,
}

impl Cluster {
    /// Returns once the router says that it is ready.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = ApiServerConfig::new(folder.path().join("state"), "token");
        let server = ApiServer::open(state).await.unwrap();
        let config = RouterConfig {
            metrics_listen: None,
            access_log: None,
            explain: true,
            ..config()
        };
        let router = Router::bind(config).await.unwrap();
        let shutdown = CancellationToken::new();
        let cluster = Self {
            address: router.address(),
            running: tokio::spawn(router.run(server.client(), shutdown.clone())),
            server,
            shutdown,
            _folder: folder,
        };
        cluster
            .until(&get("/readyz"), |answer| answer.status == 200)
            .await;
        cluster
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon(self.running).await.unwrap().unwrap();
        soon(self.server.shutdown()).await;
    }

    /// Route `r` of model `m` to server `s`.
    async fn create_route(&self) {
        let route = json!({
            "metadata": {"name": "r"},
            "spec": {
                "modelName": "m",
                "rules": [{"name": "all", "targetModels": [{"modelServerName": "s"}]}],
            },
        });
        self.routes()
            .create(
                &PostParams::default(),
                &serde_json::from_value(route).unwrap(),
            )
            .await
            .unwrap();
    }

    /// Server `s` of the pods labelled `app: m`.
    async fn create_server(&self, engine: &Engine) {
        let server = json!({
            "metadata": {"name": "s"},
            "spec": {
                "inferenceEngine": "vLLM",
                "workloadSelector": {"matchLabels": {"app": "m"}},
                "workloadPort": {"port": engine.address.port()},
            },
        });
        let servers: Api<ModelServer> = Api::namespaced(self.server.client(), NAMESPACE);
        servers
            .create(
                &PostParams::default(),
                &serde_json::from_value(server).unwrap(),
            )
            .await
            .unwrap();
    }

    /// A pod at the engine's address that is ready.
    async fn create_pod(&self, name: &str, engine: &Engine) {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "m"}},
            "spec": {"containers": [{"name": "engine", "image": "engine"}]},
        });
        self.pods()
            .create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap();
        let ready = json!({
            "phase": "Running",
            "podIP": engine.address.ip().to_string(),
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        self.report(name, ready).await;
    }

    /// What a node says of a pod.
    async fn report(&self, pod: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods()
            .patch_status(pod, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.server.client(), NAMESPACE)
    }

    fn routes(&self) -> Api<ModelRoute> {
        Api::namespaced(self.server.client(), NAMESPACE)
    }

    async fn ask(&self, request: &[u8]) -> Answer {
        Client::connect(self.address).await.ask(request).await
    }

    /// Asks until the answer is as wanted; the watch takes a moment.
    async fn until(&self, request: &[u8], wanted: impl Fn(&Answer) -> bool) -> Answer {
        soon(async {
            loop {
                let answer = self.ask(request).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

fn chat() -> Vec<u8> {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    post_with(CHAT, "x-kthena-explain: 1\r\n", body)
}

fn is_ok(answer: &Answer) -> bool {
    answer.status == 200
}

fn explanation(answer: &Answer) -> &str {
    answer.header("x-kthena-explain").unwrap_or_default()
}

#[tokio::test]
async fn a_chat_reaches_the_engine_until_the_route_is_deleted() {
    let engine = Engine::start(|_, _| ok("\"hello\"")).await;
    let cluster = Cluster::start().await;
    assert_eq!(cluster.ask(&chat()).await.status, 404);
    cluster.create_route().await;
    cluster.create_server(&engine).await;
    cluster.create_pod("p", &engine).await;

    let answer = cluster.until(&chat(), is_ok).await;

    assert_eq!(answer.text(), "\"hello\"");
    assert_eq!(
        explanation(&answer),
        "route default/r rule all -> server default/s -> pod p: the only pod (p 100: least-request 100, in flight 0)"
    );
    assert_eq!(engine.seen()[0].json()["model"], "m");

    cluster
        .routes()
        .delete("r", &DeleteParams::default())
        .await
        .unwrap();

    cluster.until(&chat(), |answer| answer.status == 404).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_turns_not_ready_gets_no_more_requests() {
    let script = || -> Script { Box::new(|_, _| ok("{}")) };
    let engines = Engine::start_several(vec![script(), script()]).await;
    let cluster = Cluster::start().await;
    cluster.create_route().await;
    cluster.create_server(&engines[0]).await;
    cluster.create_pod("p0", &engines[0]).await;
    cluster.create_pod("p1", &engines[1]).await;
    cluster
        .until(&chat(), |answer| explanation(answer).contains("pod p0:"))
        .await;
    cluster
        .until(&chat(), |answer| explanation(answer).contains("pod p1:"))
        .await;

    let failing = json!({"conditions": [{"type": "Ready", "status": "False"}]});
    cluster.report("p0", failing).await;

    cluster
        .until(&chat(), |answer| {
            explanation(answer).contains("pod p1: the only pod")
        })
        .await;
    let before = engines[0].seen().len();
    for _ in 0..20 {
        assert_eq!(cluster.ask(&chat()).await.status, 200);
    }
    assert_eq!(engines[0].seen().len(), before);
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_is_created_after_its_pod_has_it() {
    let engine = Engine::start(|_, _| ok("{}")).await;
    let cluster = Cluster::start().await;
    cluster.create_pod("p", &engine).await;
    cluster.create_route().await;
    cluster
        .until(&chat(), |answer| answer.text().contains("default/s"))
        .await;

    cluster.create_server(&engine).await;

    cluster.until(&chat(), is_ok).await;
    cluster.stop().await;
}
