//! A router program by itself, with an API server that comes late and one engine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_testkit::{binary, ports};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::machine::PATIENCE;
use crate::streaming_engine::Engine;

/// A router of its own, the API server it follows, and an engine that streams.
pub(crate) struct Setup {
    pub(crate) router: Child,
    pub(crate) address: SocketAddr,
    pub(crate) debug: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) engine: Engine,
    _server: ApiServer,
    _folder: tempfile::TempDir,
}

/// How the router is started.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// Further flags.
    pub(crate) flags: Vec<String>,
    /// It speaks TLS to clients. Nobody waits until it is ready then.
    pub(crate) secure: bool,
    /// What the engine shakes hands with; without it, it speaks no TLS.
    pub(crate) engine: Option<TlsAcceptor>,
    /// Limit on its descriptors.
    pub(crate) descriptors: Option<u32>,
}

impl Setup {
    pub(crate) async fn start(start: Start) -> Self {
        let engine = Engine::start(start.engine.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let state = ApiServerConfig::new(folder.path().join("state"), "token");
        let server = ApiServer::open(state).await.unwrap();
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(
            &kubeconfig,
            server.kubeconfig(listener.local_addr().unwrap()),
        )
        .unwrap();
        create_objects(&server, &engine, start.engine.is_some()).await;
        let (router, [address, metrics, debug]) = spawn_router(&kubeconfig, &start).await;
        // Only now: a router must be alive without an API server.
        if !start.secure {
            assert_eq!(status(address, "/readyz").await, 503);
        }
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener, CancellationToken::new()).await });
        let setup = Self {
            router,
            address,
            debug,
            metrics,
            engine,
            _server: server,
            _folder: folder,
        };
        if !start.secure {
            setup.until("/readyz", 200).await;
        }
        setup
    }

    pub(crate) async fn until(&self, path: &str, wanted: u16) {
        soon(async {
            while status(self.address, path).await != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.router), signal).unwrap();
    }

    /// How the router ended, which it must have been told to.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        soon(async {
            loop {
                if let Some(status) = self.router.try_wait().unwrap() {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// A stream that has begun.
    pub(crate) async fn stream(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&chat()).await.unwrap();
        let head = read_until(&mut stream, "data: {}").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        stream
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = self.router.kill();
        let _ = self.router.wait();
    }
}

async fn spawn_router(kubeconfig: &PathBuf, start: &Start) -> (Child, [SocketAddr; 3]) {
    let limit = start
        .descriptors
        .map_or_else(String::new, |limit| format!("ulimit -n {limit} && "));
    for _ in 0..5 {
        let ports = ports::free::<3>().unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(binary::kthena().unwrap())
            .arg("router")
            .arg(format!("--port={}", ports[0]))
            .arg(format!("--metrics-port={}", ports[1]))
            .arg(format!("--debug-port={}", ports[2]))
            .arg("--enable-webhook=false")
            .args(&start.flags)
            .env("KUBECONFIG", kubeconfig)
            .env("ACCESS_LOG_ENABLED", "false")
            .envs(start.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut router = command.spawn().unwrap();
        let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let (address, path) = if start.secure {
            (addresses[1], "/metrics")
        } else {
            (addresses[0], "/healthz")
        };
        let alive = soon(async {
            loop {
                if status(address, path).await == 200 {
                    return true;
                }
                // Somebody else took one of the ports.
                if router.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::task::yield_now().await;
            }
        });
        if alive.await {
            return (router, addresses);
        }
    }
    unreachable!("the router does not start");
}

async fn create_objects(server: &ApiServer, engine: &Engine, secure: bool) {
    let networking = "networking.serving.volcano.sh";
    let route = json!({
        "metadata": {"name": "r"},
        "spec": {"modelName": "m", "rules": [{"targetModels": [{"modelServerName": "s"}]}]},
    });
    let model_server = json!({
        "metadata": {"name": "s"},
        "spec": {
            "inferenceEngine": "vLLM",
            "workloadSelector": {"matchLabels": {"app": "m"}},
            "workloadPort": {
                "port": engine.address.port(),
                "protocol": if secure { "https" } else { "http" },
            },
        },
    });
    let pod = json!({
        "metadata": {"name": "pod", "labels": {"app": "m"}},
        "spec": {"containers": [{"name": "engine", "image": "engine"}]},
    });
    create(server, networking, "v1alpha1", "ModelRoute", route).await;
    create(server, networking, "v1alpha1", "ModelServer", model_server).await;
    let pods = create(server, "", "v1", "Pod", pod).await;
    let ready = json!({"status": {
        "phase": "Running",
        "podIP": engine.address.ip().to_string(),
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    pods.patch_status("pod", &PatchParams::default(), &Patch::Merge(ready))
        .await
        .unwrap();
}

async fn create(
    server: &ApiServer,
    group: &str,
    version: &str,
    kind: &str,
    object: Value,
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api = Api::namespaced_with(server.client(), "default", &resource);
    let mut object: DynamicObject = serde_json::from_value(object).unwrap();
    object.types = Some(kube::core::TypeMeta {
        api_version: resource.api_version,
        kind: resource.kind,
    });
    api.create(&PostParams::default(), &object).await.unwrap();
    api
}

/// Fails the test instead of hanging it.
pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    timeout(PATIENCE, work).await.unwrap()
}

pub(crate) fn chat() -> Vec<u8> {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads until `needle` has come or the connection ends.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), needle: &str) -> String {
    let mut received = Vec::new();
    soon(async {
        loop {
            let text = String::from_utf8_lossy(&received).into_owned();
            if text.contains(needle) || stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return text;
            }
        }
    })
    .await
}

/// Sends one request on a connection of its own and reads all that comes; nothing if nobody listens.
pub(crate) async fn ask(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    Some(answer)
}

pub(crate) async fn status(address: SocketAddr, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n");
    let answer = ask(address, request.as_bytes()).await.unwrap_or_default();
    answer
        .get(9..12)
        .map_or(0, |status| status.parse().unwrap())
}
