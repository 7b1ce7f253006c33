//! An engine on a port of its own, and a client for it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kthena_engine_sim::{EngineConfig, EngineError, serve};
use kthena_wire::sse::{Decoder, Event};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct TestEngine {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: JoinHandle<Result<(), EngineError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) fn config(line: &str) -> EngineConfig {
    let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    EngineConfig::from_engine_args(&args).unwrap().0
}

/// Starts an engine; it ends with the test's runtime at the latest.
pub(crate) async fn start(line: &str) -> TestEngine {
    start_with(config(line)).await
}

pub(crate) async fn start_with(config: EngineConfig) -> TestEngine {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(serve(config, listener, shutdown.clone()));
    let client = Client::builder(TokioExecutor::new()).build_http();
    TestEngine {
        address,
        shutdown,
        ended,
        client,
    }
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The events of a complete stream, without the end mark.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events = events(&self.body);
        assert_eq!(events.pop().unwrap().data, "[DONE]");
        events
            .iter()
            .map(|event| serde_json::from_str(&event.data).unwrap())
            .collect()
    }
}

pub(crate) fn events(body: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Decoder::new(1 << 20).push(body, &mut events).unwrap();
    events
}

impl TestEngine {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let sent = tokio::time::timeout(DEADLINE, self.client.request(request));
        sent.await.expect("no answer in time")
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let response = self.send(method, path, headers, body).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(DEADLINE, body.collect());
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.await.expect("no end in time").unwrap().to_bytes(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call(Method::POST, path, &[], body.to_string()).await
    }

    pub(crate) async fn chat(&self, body: Value) -> Reply {
        self.post("/v1/chat/completions", body).await
    }

    /// The sum of all series of a metric whose line contains `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let reply = self.get("/metrics").await;
        let of_metric = reply.text().lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        of_metric
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            .sum()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn until_metric(&self, name: &str, label: &str, value: f64) {
        let reached = async {
            while self.metric(name, label).await != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, reached).await;
        assert!(waited.is_ok(), "{name} {label} did not become {value}");
    }

    /// Waits until a metric has a series whose line contains `label`.
    pub(crate) async fn until_series(&self, name: &str, label: &str) {
        let found = async {
            let shown = |text: &str| {
                text.lines()
                    .any(|line| line.starts_with(name) && line.contains(label))
            };
            while !shown(self.get("/metrics").await.text()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, found).await;
        assert!(waited.is_ok(), "no series of {name} with {label}");
    }

    /// Waits until `path` answers with `status`.
    pub(crate) async fn until_status(&self, path: &str, status: StatusCode) {
        let reached = async {
            while self.get(path).await.status != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, reached).await;
        assert!(waited.is_ok(), "{path} did not answer {status}");
    }

    /// Asks the engine to end and waits until it has.
    pub(crate) async fn stop(self) -> Result<(), EngineError> {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.ended);
        ended.await.expect("no end in time").unwrap()
    }
}

/// Reads a body up to its first `count` events and returns it with the rest unread.
pub(crate) async fn read_events(body: &mut Incoming, count: usize) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    while events.len() < count {
        let frame = tokio::time::timeout(DEADLINE, body.frame());
        let frame = frame.await.expect("no event in time").unwrap().unwrap();
        if let Ok(data) = frame.into_data() {
            decoder.push(&data, &mut events).unwrap();
        }
    }
    events
}
