//! A running router and what it is told exists.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kthena_router_observability::{LogFormat, LogOutput};
use kthena_router_proxy::{
    ProxyError, Publisher, Router, RouterConfig, SchedulerConfig, SchedulingConfig,
};
use kthena_router_view::{PodFacts, View};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, soon};
use crate::engine::Engine;

pub(crate) struct TestRouter {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) debug: Option<SocketAddr>,
    pub(crate) publisher: Publisher,
    pub(crate) shutdown: CancellationToken,
    running: JoinHandle<Result<(), ProxyError>>,
    log: PathBuf,
    _folder: TempDir,
}

/// Places by requests in flight alone, so that equal prompts need not go to one engine.
fn by_requests_in_flight() -> SchedulingConfig {
    let text = "scheduler: {plugins: {Score: {enabled: [{name: least-request, weight: 1}]}}}";
    SchedulingConfig {
        config: SchedulerConfig::read(text).unwrap().config,
        file: None,
    }
}

pub(crate) fn config() -> RouterConfig {
    RouterConfig {
        scheduling: by_requests_in_flight(),
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        workers: NonZeroUsize::new(2).unwrap(),
        lame_duck: Duration::ZERO,
        ..RouterConfig::default()
    }
}

/// A view with one route of model `m` to server `s`, whose pods are `engines`.
pub(crate) fn view(engines: &[&Engine], spec: &Value) -> View {
    let addresses: Vec<SocketAddr> = engines.iter().map(|engine| engine.address).collect();
    view_of(&addresses, spec)
}

/// The same, by the engines' addresses, which have one port.
pub(crate) fn view_of(engines: &[SocketAddr], spec: &Value) -> View {
    let mut view = View::default();
    let mut server_spec = json!({
        "workloadSelector": {"matchLabels": {"app": "m"}},
        "workloadPort": {"port": engines.first().map_or(1, SocketAddr::port)},
    });
    server_spec
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let server = json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": server_spec});
    view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {
            "modelName": "m", "loraAdapters": ["adapter"],
            "rules": [{"targetModels": [{"modelServerName": "s"}]}],
        },
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    for (number, engine) in engines.iter().enumerate() {
        view.apply_pod(PodFacts {
            namespace: "ns".to_owned(),
            name: format!("pod-{number}"),
            uid: format!("uid-{number}"),
            labels: [("app".to_owned(), "m".to_owned())].into(),
            ready: true,
            address: Some(engine.ip()),
            started_unix: None,
        });
    }
    view
}

impl TestRouter {
    /// A router that knows nothing yet.
    pub(crate) async fn start(mut config: RouterConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        config.access_log = Some((LogFormat::Text, LogOutput::File(log.clone())));
        let router = Router::bind(config).await.unwrap();
        let shutdown = CancellationToken::new();
        Self {
            address: router.address(),
            metrics: router.metrics_address().unwrap(),
            debug: router.debug_address(),
            publisher: router.publisher(),
            shutdown: shutdown.clone(),
            running: tokio::spawn(router.serve(shutdown)),
            log,
            _folder: folder,
        }
    }

    /// A router for [`view`].
    pub(crate) async fn serving(engines: &[&Engine]) -> Self {
        Self::with(config(), engines, &json!({})).await
    }

    pub(crate) async fn with(config: RouterConfig, engines: &[&Engine], spec: &Value) -> Self {
        let router = Self::start(config).await;
        router.publisher.publish(view(engines, spec).snapshot());
        router
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> crate::client::Answer {
        self.client().await.ask(bytes).await
    }

    pub(crate) async fn metrics(&self) -> String {
        let answer = Client::connect(self.metrics)
            .await
            .ask(&crate::client::get("/metrics"))
            .await;
        answer.text().to_owned()
    }

    /// Waits until a metrics line starts with this.
    pub(crate) async fn until_metric(&self, line: &str) {
        soon(async {
            while !self
                .metrics()
                .await
                .lines()
                .any(|other| other.starts_with(line))
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Stops the router and returns its access log.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.shutdown.cancel();
        soon(self.running).await.unwrap().unwrap();
        drop(self.publisher);
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }
}
