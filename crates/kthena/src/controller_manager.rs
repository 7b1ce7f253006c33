//! `kthena controller-manager`: the controllers on a cluster.
//!
//! Flags are those of the program it replaces, so that its manifests work unchanged. What is accepted but does
//! nothing is said in the log at the start.

mod controllers;
mod klog;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::BoolishValueParser;
use kthena_cluster::lease::{self, LeaseConfig};
use kthena_cluster::{ClientConfig, RequestRate};
use kthena_controllers_driver::DriverConfig;
use kthena_controllers_webhook::WebhookConfig;
use tokio_util::sync::CancellationToken;

use controllers::Controller;

/// Where a pod learns its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const LEASE_NAME: &str = "lease.kthena.controller-manager";
/// Requests that may go out at once when only a rate is given.
const BURST: u32 = 10;
/// Requests per second when only a burst is given.
const QPS: f64 = 5.0;

const EXAMPLES: &str = "\
Examples:
  kthena controller-manager --kubeconfig ~/.kube/config --enable-webhook=false
  kthena controller-manager --leader-elect --workers 10 --debug-port 15001    in a pod of a Deployment
  kthena controller-manager --master http://127.0.0.1:8001 --enable-webhook=false -v 4";

/// Run the controllers on a Kubernetes cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kubeconfig file; without it, the pod's service account, `KUBECONFIG` or `~/.kube/config`.
    #[arg(long, default_value = "")]
    kubeconfig: String,
    /// Address of the API server; wins over the kubeconfig.
    #[arg(long, default_value = "")]
    master: String,
    /// Serve the admission webhooks.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    enable_webhook: bool,
    /// Certificate of the webhook server.
    #[arg(long, default_value = "/etc/tls/tls.crt")]
    tls_cert_file: PathBuf,
    /// Private key of the webhook server.
    #[arg(long, default_value = "/etc/tls/tls.key")]
    tls_private_key_file: PathBuf,
    /// HTTPS port of the webhook server.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Read and write timeout of the webhook server, in seconds.
    #[arg(long, default_value_t = 30)]
    webhook_timeout: u32,
    /// Secret that holds the webhook's certificate.
    #[arg(long, default_value = "kthena-controller-manager-webhook-certs")]
    cert_secret_name: String,
    /// Service in front of the webhook server.
    #[arg(long, default_value = "kthena-controller-manager-webhook")]
    service_name: String,
    /// Work only while holding the lease.
    #[arg(long, default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Objects that each controller works on at the same time.
    #[arg(long, default_value = "5")]
    workers: NonZeroUsize,
    /// Controllers to run: `*` for all, `name` or `+name` for one, `-name` for all but one; `-leaderworkerset` leaves
    /// LeaderWorkerSets to another controller.
    #[arg(long, default_value = "*", allow_hyphen_values = true)]
    controllers: String,
    /// Requests per second to the API server; 0 = no limit but its own.
    #[arg(long, default_value_t = 0.0)]
    kube_api_qps: f64,
    /// Requests that may go out at once; 0 = no limit, or 10 with a rate.
    #[arg(long, default_value_t = 0)]
    kube_api_burst: u32,
    /// Port on localhost that shows the controller's state; 0 = none.
    #[arg(long, default_value_t = 0)]
    debug_port: u16,
    /// Seconds between two looks of the autoscaler.
    #[arg(long, default_value_t = 15)]
    autoscaling_sync_period_seconds: u32,
    #[command(flatten)]
    klog: klog::Flags,
}

/// What runs, resolved from the flags.
#[derive(Debug)]
struct Resolved {
    client: ClientConfig,
    driver: DriverConfig,
    /// `None` if no admission is served.
    webhook: Option<WebhookConfig>,
    warnings: Vec<String>,
}

/// Runs until a signal, a lost lease or an error.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.klog.logs().start()?;
    let host = host_name();
    let resolved = args.resolve(&host)?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    // One thread is enough: the work is waiting for the API server, and threads would only wake each other.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        kthena_process::cancel_on_signals(shutdown.clone()).context("signals cannot be handled")?;
        let client = kthena_cluster::connect(&resolved.client).await?;
        // Every replica serves admission, leader or not, and goes on whatever becomes of it.
        let webhook = resolved.webhook.map(|config| {
            let status = kthena_controllers_webhook::Status::default();
            let serve =
                kthena_controllers_webhook::run(client.clone(), config, status, shutdown.clone());
            tokio::spawn(serve)
        });
        let outcome =
            kthena_controllers_driver::run(client, resolved.driver, shutdown.clone()).await;
        shutdown.cancel();
        if let Some(webhook) = webhook
            && let Err(error) = webhook.await
        {
            tracing::error!(%error, "the webhook ended unexpectedly");
        }
        outcome?;
        Ok(ExitCode::SUCCESS)
    })
}

impl Args {
    fn resolve(self, host: &str) -> anyhow::Result<Resolved> {
        let enabled = controllers::enabled(&self.controllers);
        anyhow::ensure!(
            enabled.contains(&Controller::ModelServing),
            "--controllers={} asks for no controller that this version has (it has modelserving)",
            self.controllers
        );
        let warnings = self.warnings(&enabled);
        let webhook = webhook::resolve(&self);
        let leader_election = if self.leader_elect {
            Some(LeaseConfig::new(
                own_namespace()?,
                LEASE_NAME,
                lease::identity(host),
            ))
        } else {
            None
        };
        let debug = (self.debug_port != 0)
            .then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, self.debug_port)));
        Ok(Resolved {
            client: ClientConfig {
                kubeconfig: given(&self.kubeconfig).map(PathBuf::from),
                master: given(&self.master).map(str::to_owned),
                rate: rate(self.kube_api_qps, self.kube_api_burst),
            },
            driver: DriverConfig {
                workers: self.workers,
                leader_election,
                debug_listen: debug,
                leader_worker_sets: controllers::serves_leader_worker_sets(&self.controllers),
                host: host.to_owned(),
                ..DriverConfig::default()
            },
            webhook,
            warnings,
        })
    }
}

impl Args {
    /// What is accepted but has no effect.
    fn warnings(&self, enabled: &BTreeSet<Controller>) -> Vec<String> {
        let mut warnings = self.klog.ignored();
        for absent in enabled
            .iter()
            .filter(|controller| **controller != Controller::ModelServing)
        {
            let period = match absent {
                Controller::Autoscaler => {
                    format!(
                        ", so its period of {} s has no effect",
                        self.autoscaling_sync_period_seconds
                    )
                }
                Controller::ModelServing | Controller::ModelBooster => String::new(),
            };
            let name = absent.name();
            warnings.push(format!(
                "controller {name} is not part of this version and does not run{period}"
            ));
        }
        warnings
    }
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Both zero means no limit: the API server protects itself, and a limit here would only make rollouts slow.
fn rate(per_second: f64, burst: u32) -> Option<RequestRate> {
    if per_second <= 0.0 && burst == 0 {
        return None;
    }
    Some(RequestRate {
        per_second: if per_second > 0.0 { per_second } else { QPS },
        burst: NonZeroU32::new(burst).or(NonZeroU32::new(BURST))?,
    })
}

fn own_namespace() -> anyhow::Result<String> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).with_context(|| {
        format!("--leader-elect needs the pod's namespace from {NAMESPACE_FILE}")
    })?;
    Ok(text.trim().to_owned())
}

fn host_name() -> String {
    let from_system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    from_system
        .map(|name| name.trim().to_owned())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
