//! The embedded server, which must answer as the real one does.

use std::path::PathBuf;

use kthena_apiserver_rest::{ApiServer, ApiServerConfig};
use kthena_conformance::case::Only;
use kthena_conformance::player::Server;
use rstest::rstest;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{agrees, definitions, runtime};

/// A server with its state folder.
struct Embedded {
    server: Server,
    _folder: TempDir,
    _api: ApiServer,
}

/// The shared server.
async fn server() -> &'static Server {
    static SERVER: OnceCell<Embedded> = OnceCell::const_new();
    let embedded = SERVER.get_or_init(|| async {
        let folder = tempfile::tempdir().unwrap();
        let api = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
            .await
            .unwrap();
        let client = api.client();
        definitions::install(&client).await;
        Embedded {
            server: Server {
                kind: Only::Embedded,
                client,
            },
            _folder: folder,
            _api: api,
        }
    });
    &embedded.await.server
}

#[rstest]
fn embedded_server(#[files("cases/*.yaml")] file: PathBuf) {
    runtime().block_on(async { agrees(server().await, &file).await });
}
