//! Servers for tests, in a folder of their own.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a condition may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running server with a listener and a kubeconfig.
pub(crate) struct TestServer {
    pub server: ApiServer,
    pub address: SocketAddr,
    pub folder: TempDir,
    pub kubeconfig: PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ApiServerConfig::new(folder.path().join("state"), "test-token");
        let server = ApiServer::open(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig, address).unwrap();
        let shutdown = CancellationToken::new();
        let (running, stop) = (server.clone(), shutdown.clone());
        let serving = tokio::spawn(async move { running.serve(listener, stop).await.unwrap() });
        Self {
            server,
            address,
            folder,
            kubeconfig,
            shutdown,
            serving,
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.server.client()
    }

    /// Runs kubectl with something on its standard input and a home of its own, so that its cache is too.
    pub(crate) async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .env("HOME", self.folder.path());
        let stdin = self.folder.path().join(format!("stdin-{}", uuid()));
        std::fs::write(&stdin, input).unwrap();
        command.stdin(std::fs::File::open(stdin).unwrap());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// The standard output of a kubectl that must succeed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        self.ok_with(arguments, "").await
    }

    /// The same, with a standard input.
    pub(crate) async fn ok_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl_with(arguments, input).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?} failed: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The standard error of a kubectl that must fail.
    pub(crate) async fn fails(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl_with(arguments, input).await;
        assert!(
            !output.status.success(),
            "kubectl {arguments:?} should fail"
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.server.shutdown().await;
    }
}

fn uuid() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
