//! Runs one engine in a process of its own: `cargo run --example engine -- vllm serve m-7b --port 8100`.

use std::process::ExitCode;

use kthena_engine_sim::EngineConfig;
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let config = match EngineConfig::from_engine_args(&args) {
        Ok((config, _)) => config,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::from(2);
        }
    };
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without the signal there is still the default action.
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    match kthena_engine_sim::run(config, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_code()),
    }
}
