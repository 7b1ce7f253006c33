//! Plays every case file against every server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod clients;
mod definitions;
mod embedded;
mod history;
mod kubectl;
mod real;
mod webhook;

use std::path::Path;
use std::sync::OnceLock;

use kthena_conformance::player::{Server, play_file};
use tokio::runtime::{Builder, Runtime};

/// One runtime for all tests, because the servers they share live on it.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Plays a file; the variable `CASE` limits it to cases whose name contains its value.
async fn agrees(server: &Server, file: &Path) {
    let wanted = std::env::var("CASE").ok();
    if let Err(error) = play_file(server, file, wanted.as_deref()).await {
        panic!("{error:#}");
    }
}
