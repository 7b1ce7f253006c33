//! `kthena router`: stands in front of the engines.
//!
//! Flags and environment are those of the `kthena-router` program. What this release accepts but does not do yet is
//! said once at the start if somebody asked for it; what would be unsafe to ignore stops the start.
//!
//! # Where to go next
//!
//! `flags` for what can be typed, `settings` for what it means, `config_file` for the file.

pub(crate) mod config_file;
mod flags;
mod settings;
#[cfg(test)]
mod tests;
mod webhook;

use std::process::ExitCode;

use kthena_router_proxy::{Router, raise_descriptor_limit};
use kthena_telemetry::Logs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) use flags::{Args, local_tokenizer};
use settings::{Settings, resolve};

/// Runs the router until a signal, and through its drain.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    Logs {
        verbosity: args.klog.verbosity,
        ..Logs::default()
    }
    .start()?;
    tracing::info!(?args, "flags");
    let mut settings = resolve(args, |name| std::env::var(name).ok())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let env = |name: &str| std::env::var(name).ok();
    settings.router.scheduling = config_file::load(args.config_file.as_deref())?;
    settings.router.kv = settings::kv(args, &settings.router.scheduling.config, env)?;
    if settings.router.kv.is_none() && !settings::tokenizers(args, &env)?.is_empty() {
        tracing::warn!("--tokenizer: nothing asks for tokens with --kv-index=off");
    }
    match raise_descriptor_limit() {
        Ok(limit) => tracing::info!(limit, "open descriptors"),
        Err(error) => tracing::warn!(%error, "the limit on open descriptors stays as it is"),
    }
    // Requests are served by the router's own threads; this one watches and accepts.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    kthena_process::cancel_on_signals(shutdown.clone())?;
    let router = Router::bind(settings.router).await?;
    let reopen = router.log_reopener();
    let mut hang_up = signal(SignalKind::hangup())?;
    let reopening = tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            reopen();
        }
    });
    let client = kthena_cluster::connect(&settings.client).await?;
    // Admission goes on whatever becomes of it, and inference whatever becomes of admission.
    let webhook = settings.webhook.map(|config| {
        let (client, shutdown) = (client.clone(), shutdown.clone());
        let tell = router.webhook_gauge();
        tokio::spawn(async move {
            let status = kthena_controllers_webhook::Status::default();
            let told = status.clone();
            let serve = kthena_controllers_webhook::run(client, config, status, shutdown);
            tokio::select! {
                () = serve => {}
                () = told.follow(tell) => {}
            }
        })
    });
    let served = router.run(client, shutdown.clone()).await;
    reopening.abort();
    shutdown.cancel();
    if let Some(webhook) = webhook
        && let Err(error) = webhook.await
    {
        tracing::error!(%error, "the webhook ended unexpectedly");
    }
    Ok(served?)
}
