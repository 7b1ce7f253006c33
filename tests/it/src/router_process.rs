//! `kthena router` as a cluster runs it: signals, descriptors, an API server that comes late.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_testkit::{binary, ports};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::machine::PATIENCE;
use crate::streaming_engine::Engine;

/// A router of its own, the API server it follows, and an engine that streams.
struct Setup {
    router: Child,
    address: SocketAddr,
    debug: SocketAddr,
    metrics: SocketAddr,
    engine: Engine,
    _server: ApiServer,
    _folder: tempfile::TempDir,
}

/// How the router is started.
#[derive(Default)]
struct Start {
    environment: Vec<(&'static str, &'static str)>,
    /// Limit on its descriptors.
    descriptors: Option<u32>,
}

impl Setup {
    async fn start(start: Start) -> Self {
        let engine = Engine::start().await;
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
        create_objects(&server, &engine).await;
        let (router, [address, metrics, debug]) = spawn_router(&kubeconfig, &start).await;
        // Only now: a router must be alive without an API server.
        assert_eq!(status(address, "/readyz").await, 503);
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
        setup.until("/readyz", 200).await;
        setup
    }

    async fn until(&self, path: &str, wanted: u16) {
        soon(async {
            while status(self.address, path).await != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.router), signal).unwrap();
    }

    /// How the router ended, which it must have been told to.
    async fn ended(&mut self) -> ExitStatus {
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
    async fn stream(&self) -> TcpStream {
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
            .env("KUBECONFIG", kubeconfig)
            .env("ACCESS_LOG_ENABLED", "false")
            .envs(start.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut router = command.spawn().unwrap();
        let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let alive = soon(async {
            loop {
                if status(addresses[0], "/healthz").await == 200 {
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

async fn create_objects(server: &ApiServer, engine: &Engine) {
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
            "workloadPort": {"port": engine.address.port()},
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
async fn soon<F: Future>(work: F) -> F::Output {
    timeout(PATIENCE, work).await.unwrap()
}

fn chat() -> Vec<u8> {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads until `needle` has come or the connection ends.
async fn read_until(stream: &mut TcpStream, needle: &str) -> String {
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
async fn ask(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    Some(answer)
}

async fn status(address: SocketAddr, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n");
    let answer = ask(address, request.as_bytes()).await.unwrap_or_default();
    answer
        .get(9..12)
        .map_or(0, |status| status.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_its_streams_and_leaves_nobody_before_a_closed_door() {
    let start = Start {
        environment: vec![("SHUTDOWN_DELAY", "2s"), ("DRAIN_TIMEOUT", "5m")],
        ..Start::default()
    };
    let mut setup = Setup::start(start).await;
    let mut stream = setup.stream().await;

    setup.signal(Signal::TERM);

    setup.until("/readyz", 503).await;
    let mut late = setup.stream().await;
    assert_eq!(status(setup.address, "/healthz").await, 200);
    // First requests are served, then refused, and at no time is the connection.
    let refusal = soon(async {
        loop {
            let answer = ask(setup.address, &chat()).await.unwrap();
            if answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    })
    .await;
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert_eq!(status(setup.address, "/healthz").await, 200);
    assert_eq!(status(setup.address, "/readyz").await, 503);
    assert!(setup.router.try_wait().unwrap().is_none());
    setup.engine.ends.add_permits(1000);

    for stream in [&mut stream, &mut late] {
        let rest = read_until(stream, "0\r\n\r\n").await;
        assert!(rest.contains("data: [DONE]"), "{rest}");
    }
    assert_eq!(setup.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_cuts_what_is_left() {
    let start = Start {
        environment: vec![("SHUTDOWN_DELAY", "0s"), ("DRAIN_TIMEOUT", "500ms")],
        ..Start::default()
    };
    let mut setup = Setup::start(start).await;
    let mut stream = setup.stream().await;

    setup.signal(Signal::INT);

    assert_eq!(setup.ended().await.code(), Some(0));
    assert!(
        !read_until(&mut stream, "0\r\n\r\n")
            .await
            .contains("[DONE]")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_router_at_once() {
    let mut setup = Setup::start(Start::default()).await;
    let _stream = setup.stream().await;
    setup.signal(Signal::TERM);
    setup.until("/readyz", 503).await;

    setup.signal(Signal::TERM);

    let ended = setup.ended().await;
    assert!(
        ended.code() == Some(143) || ended.signal() == Some(15),
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_of_descriptors_clients_are_refused_and_come_in_again_afterwards() {
    let start = Start {
        descriptors: Some(200),
        ..Start::default()
    };
    let setup = Setup::start(start).await;
    let mut streams = Vec::new();

    let refusal = soon(async {
        loop {
            let mut stream = TcpStream::connect(setup.address).await.unwrap();
            stream.write_all(&chat()).await.unwrap();
            let answer = read_until(&mut stream, "\r\n\r\n").await;
            if !answer.starts_with("HTTP/1.1 200") {
                return answer;
            }
            streams.push(stream);
        }
    })
    .await;

    assert!(streams.len() > 50, "{} streams", streams.len());
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    // A flood that asks nothing takes every descriptor there is; the next client still hears something.
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(setup.address).await.unwrap());
    }
    let refusal = ask(setup.address, &chat()).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    drop(flood);
    // Those already here are served to their end.
    setup.engine.ends.add_permits(streams.len());
    for stream in &mut streams {
        assert!(read_until(stream, "0\r\n\r\n").await.contains("[DONE]"));
    }
    drop(streams);

    setup.engine.ends.add_permits(1000);
    soon(async {
        while !ask(setup.address, &chat())
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Streams that wait at once; each costs this process two descriptors and the router two.
const IDLE_STREAMS: usize = 2000;

/// Resident memory of the router in KiB.
fn resident(router: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_streams_are_held_and_cost_little() {
    let setup = Setup::start(Start::default()).await;
    let before = resident(&setup.router);
    let mut streams = Vec::with_capacity(IDLE_STREAMS);
    for _ in 0..IDLE_STREAMS {
        streams.push(setup.stream().await);
    }

    let grown = resident(&setup.router).saturating_sub(before);

    let per_stream = grown * 1024 / IDLE_STREAMS;
    assert!(per_stream < 40 << 10, "{per_stream} bytes a stream");
    setup.engine.ends.add_permits(IDLE_STREAMS);
    for stream in &mut streams {
        assert!(read_until(stream, "0\r\n\r\n").await.contains("[DONE]"));
    }
    let metrics = setup.metrics;
    soon(async {
        loop {
            let mut stream = TcpStream::connect(metrics).await.unwrap();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let text = read_until(&mut stream, "\0").await;
            if text.contains("kthena_router_active_requests 0") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_explains_what_the_router_would_do() {
    let setup = Setup::start(Start::default()).await;
    let explain = |arguments: &[&str]| {
        Command::new(binary::kthena().unwrap())
            .args(["explain", &format!("--router=http://{}", setup.debug)])
            .args(arguments)
            .output()
            .unwrap()
    };

    let told = explain(&["--model=m", "--prompt=hi"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(text.contains("Route     default/r"), "{text}");
    assert!(text.contains(&setup.engine.address.to_string()), "{text}");

    let refused = explain(&["--model=x", "--prompt=hi", "-o", "json"]);
    assert!(!refused.status.success());
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(told["error"]["status"], 404);
}
