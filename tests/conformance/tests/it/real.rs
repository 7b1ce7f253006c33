//! The real kube-apiserver: proves that the cases expect what Kubernetes does.

use std::path::PathBuf;

use kthena_conformance::case::Only;
use kthena_conformance::player::Server;
use kthena_testkit::{ControlPlane, Part};
use rstest::rstest;
use tokio::sync::OnceCell;

use crate::{agrees, definitions, runtime};

/// The shared server, with our definitions installed.
pub(crate) async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let server = SERVER.get_or_init(|| async {
        let plane = ControlPlane::shared(&[Part::ControllerManager])
            .await
            .unwrap();
        let client = plane.client().await.unwrap();
        definitions::install(&client).await;
        Server {
            kind: Only::Real,
            client,
        }
    });
    server.await
}

/// The path of its kubeconfig.
pub(crate) async fn kubeconfig() -> PathBuf {
    server().await;
    ControlPlane::shared(&[Part::ControllerManager])
        .await
        .unwrap()
        .kubeconfig()
        .to_path_buf()
}

#[rstest]
fn real_server(#[files("cases/*.yaml")] file: PathBuf) {
    runtime().block_on(async { agrees(server().await, &file).await });
}
