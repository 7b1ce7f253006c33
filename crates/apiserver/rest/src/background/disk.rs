//! Looks after a disk that refuses writes: tries it every second until it takes them again.

use std::{sync::Arc, time::Duration};

use crate::server::Inner;

/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the server closes.
pub(super) async fn run(server: Arc<Inner>) {
    let watching = async {
        let mut fault = server.engine.fault();
        // The sender lives as long as the server.
        while fault.wait_for(Option::is_some).await.is_ok() {
            tokio::time::sleep(PAUSE).await;
            server.engine.probe().await;
        }
    };
    tokio::select! {
        () = server.closing.cancelled() => {}
        () = watching => {}
    }
}
