//! `kthena engine`

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use kthena_engine_sim::EngineConfig;
use kthena_telemetry::Logs;
use tokio_util::sync::CancellationToken;

/// Run a simulated engine.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The arguments are those of the engine it stands in for: `vllm serve` by default, SGLang's with
`--dialect sglang`. Flags that change nothing here are warnings. Its own flags begin with --sim.

Examples:
  kthena engine Qwen/Qwen2.5-7B-Instruct --served-model-name qwen --port 8000
  kthena engine --dialect sglang --model-path meta-llama/Llama-3.1-8B --port 30000 --sim-gpu H100
  kthena engine tiny --port 8000 --sim-speed 100")]
pub(crate) struct Args {
    /// Arguments of the engine
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    Logs::default().start()?;
    let (config, warnings) = EngineConfig::from_engine_args(&args.arguments)?;
    for warning in warnings {
        tracing::warn!("{}", warning.0);
    }
    // One thread: an engine waits most of the time, and a machine may run hundreds of them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        kthena_process::cancel_on_signals(shutdown.clone()).context("signals")?;
        let Err(error) = kthena_engine_sim::run(config, shutdown).await else {
            return Ok(ExitCode::SUCCESS);
        };
        tracing::error!("{error}");
        Ok(ExitCode::from(error.exit_code()))
    })
}
