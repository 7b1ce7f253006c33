//! The embedded server, which must answer as the real one does.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_conformance::case::Only;
use kthena_conformance::player::Server;
use rstest::rstest;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{agrees, definitions, runtime};

/// A server with its state folder, listening on loopback.
struct Embedded {
    server: Server,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

async fn embedded() -> &'static Embedded {
    static SERVER: OnceCell<Embedded> = OnceCell::const_new();
    let embedded = SERVER.get_or_init(|| async {
        let folder = tempfile::tempdir().unwrap();
        let api = ApiServer::open(ApiServerConfig::new(folder.path().join("state"), "token"))
            .await
            .unwrap();
        let client = api.client();
        definitions::install(&client).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        api.write_kubeconfig(&kubeconfig, listener.local_addr().unwrap())
            .unwrap();
        tokio::spawn(async move { api.serve(listener, CancellationToken::new()).await.unwrap() });
        Embedded {
            server: Server {
                kind: Only::Embedded,
                client,
            },
            kubeconfig,
            _folder: folder,
        }
    });
    embedded.await
}

/// The shared server.
pub(crate) async fn server() -> &'static Server {
    &embedded().await.server
}

/// The path of its kubeconfig.
pub(crate) async fn kubeconfig() -> PathBuf {
    embedded().await.kubeconfig.clone()
}

#[rstest]
fn embedded_server(#[files("cases/*.yaml")] file: PathBuf) {
    runtime().block_on(async { agrees(server().await, &file).await });
}
