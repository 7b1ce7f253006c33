//! `kthena router`: stands in front of the engines.
//!
//! Flags and environment are those of the `kthena-router` program. What this release accepts but does not do yet is
//! said once at the start if somebody asked for it; what would be unsafe to ignore stops the start.

#[cfg(test)]
mod tests;

use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{ArgAction, Args as ClapArgs};
use kthena_api::duration::GoDuration;
use kthena_cluster::{ClientConfig, RequestRate};
use kthena_router_proxy::{AccessLogFormat, AccessLogOutput, ErrorStyle, Router, RouterConfig};
use kthena_telemetry::Logs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const CONFIG_FILE: &str = "/etc/config/routerConfiguration.yaml";

/// The value of a flag in Go's syntax: `--x` alone or `--x=false`. The fields spell out `Option`, since clap reads
/// their types by name and takes an alias of `Option` for a required flag.
type GoFlag = String;

/// Flags of the router.
#[derive(Debug, ClapArgs)]
#[command(args_override_self = true)]
pub(crate) struct Args {
    /// Port of the inference listener.
    #[arg(long, default_value_t = NonZeroU16::new(8080).unwrap_or(NonZeroU16::MIN))]
    port: NonZeroU16,
    /// Certificate of the inference listener, PEM; needs --tls-key.
    #[arg(long, default_value = "")]
    tls_cert: String,
    /// Key of the inference listener, PEM; needs --tls-cert.
    #[arg(long, default_value = "")]
    tls_key: String,
    /// Serve the listeners of Gateways.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_gateway_api: Option<GoFlag>,
    /// Serve `HTTPRoutes` to `InferencePools`; needs --enable-gateway-api.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_gateway_api_inference_extension: Option<GoFlag>,
    /// Port of the metrics listener.
    #[arg(long, default_value_t = NonZeroU16::new(9090).unwrap_or(NonZeroU16::MIN))]
    metrics_port: NonZeroU16,
    /// Serve /metrics on the inference listener too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    expose_metrics_on_router_port: Option<GoFlag>,
    /// Port of the debug listener, on localhost.
    #[arg(long, default_value_t = NonZeroU16::new(15000).unwrap_or(NonZeroU16::MIN))]
    debug_port: NonZeroU16,
    /// Run the admission server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_webhook: Option<GoFlag>,
    /// Port of the admission server.
    #[arg(long, default_value_t = NonZeroU16::new(8443).unwrap_or(NonZeroU16::MIN))]
    webhook_port: NonZeroU16,
    /// Certificate of the admission server.
    #[arg(long, default_value = "/etc/tls/tls.crt")]
    webhook_tls_cert_file: String,
    /// Key of the admission server.
    #[arg(long, default_value = "/etc/tls/tls.key")]
    webhook_tls_private_key_file: String,
    /// Secret for generated certificates of the admission server.
    #[arg(long, default_value = "kthena-router-webhook-certs")]
    cert_secret_name: String,
    /// Service of the admission server.
    #[arg(long, default_value = "kthena-router-webhook")]
    webhook_service_name: String,
    /// Requests a second to the API server; 0 = 5.
    #[arg(long, default_value_t = 0.0)]
    kube_api_qps: f64,
    /// Requests at once to the API server; 0 = 10.
    #[arg(long, default_value_t = 0)]
    kube_api_burst: u32,
    /// Answer errors as earlier releases did: their statuses, bodies of a bare JSON string.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    legacy_errors: Option<GoFlag>,
    #[command(flatten)]
    klog: Klog,
}

/// Flags of the logging library of earlier releases. Only the verbosity has a meaning.
#[derive(Debug, Default, ClapArgs)]
struct Klog {
    /// Verbosity of the log; 3 = debug, 5 = trace.
    #[arg(short = 'v', long = "v", default_value_t = 0, action = ArgAction::Set)]
    verbosity: u8,
    #[arg(long = "vmodule", hide = true)]
    modules: Option<String>,
    #[arg(long = "log_dir", hide = true)]
    dir: Option<String>,
    #[arg(long = "log_file", hide = true)]
    file: Option<String>,
    #[arg(long = "log_file_max_size", hide = true)]
    file_max_size: Option<String>,
    #[arg(long = "log_backtrace_at", hide = true)]
    backtrace_at: Option<String>,
    #[arg(long = "stderrthreshold", hide = true)]
    stderr_threshold: Option<String>,
    #[arg(long = "alsologtostderrthreshold", hide = true)]
    also_stderr_threshold: Option<String>,
    #[arg(long = "logtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    to_stderr: Option<GoFlag>,
    #[arg(long = "alsologtostderr", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    also_to_stderr: Option<GoFlag>,
    #[arg(long = "skip_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_headers: Option<GoFlag>,
    #[arg(long = "add_dir_header", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    add_dir_header: Option<GoFlag>,
    #[arg(long = "one_output", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    one_output: Option<GoFlag>,
    #[arg(long = "skip_log_headers", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_log_headers: Option<GoFlag>,
    #[arg(
        long = "legacy_stderr_threshold_behavior",
        hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    legacy_threshold: Option<GoFlag>,
}

/// Flags and environment as they are meant.
#[derive(Debug, PartialEq)]
struct Settings {
    router: RouterConfig,
    client: ClientConfig,
    /// What was asked for but is not done, or was not understood.
    warnings: Vec<String>,
}

/// Runs the router until a signal, and through its drain.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    Logs {
        verbosity: args.klog.verbosity,
        ..Logs::default()
    }
    .start()?;
    tracing::info!(?args, "flags");
    let settings = resolve(args, |name| std::env::var(name).ok())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    check_config_file(Path::new(CONFIG_FILE))?;
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
    let served = router.run(client, shutdown).await;
    reopening.abort();
    Ok(served?)
}

fn resolve(args: &Args, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
    let mut warnings = Vec::new();
    let flag = |name: &str, value: Option<&GoFlag>| match value.map(|text| (text, go_bool(text))) {
        None => Ok(None),
        Some((_, Some(value))) => Ok(Some(value)),
        Some((text, None)) => bail!("--{name}: {text:?} is neither true nor false"),
    };
    ensure!(
        args.tls_cert.is_empty() == args.tls_key.is_empty(),
        "--tls-cert and --tls-key need each other"
    );
    ensure!(
        args.tls_cert.is_empty(),
        "--tls-cert: this release does not serve TLS; end TLS in front of it"
    );
    let gateway = flag("enable-gateway-api", args.enable_gateway_api.as_ref())?.unwrap_or(false);
    let extension = flag(
        "enable-gateway-api-inference-extension",
        args.enable_gateway_api_inference_extension.as_ref(),
    )?;
    ensure!(
        gateway || !extension.unwrap_or(false),
        "--enable-gateway-api-inference-extension needs --enable-gateway-api"
    );
    if gateway {
        warnings.push("--enable-gateway-api: this release serves no Gateways; requests are routed without them".to_owned());
    }
    if flag("enable-webhook", args.enable_webhook.as_ref())? == Some(true) {
        warnings.push(
            "--enable-webhook: this release runs no admission server in the router".to_owned(),
        );
    }
    let switches = queue_switches(&env)?;
    warnings.extend(switches);

    let defaults = RouterConfig::default();
    let listen = |port: NonZeroU16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.get()));
    let legacy = flag("legacy-errors", args.legacy_errors.as_ref())?;
    let legacy = legacy.unwrap_or_else(|| env_bool(&env, "LEGACY_ERRORS", false));
    let router = RouterConfig {
        listen: listen(args.port),
        metrics_listen: Some(listen(args.metrics_port)),
        expose_metrics: flag(
            "expose-metrics-on-router-port",
            args.expose_metrics_on_router_port.as_ref(),
        )?
        .unwrap_or(false),
        error_style: if legacy {
            ErrorStyle::Legacy
        } else {
            ErrorStyle::OpenAi
        },
        access_log: access_log(&env),
        drain_timeout: env_duration(
            &env,
            "DRAIN_TIMEOUT",
            false,
            defaults.drain_timeout,
            &mut warnings,
        ),
        lame_duck: env_duration(
            &env,
            "SHUTDOWN_DELAY",
            true,
            defaults.lame_duck,
            &mut warnings,
        ),
        ..defaults
    };
    let client = ClientConfig {
        rate: request_rate(args),
        ..ClientConfig::default()
    };
    Ok(Settings {
        router,
        client,
        warnings,
    })
}

/// The two queue modes exclude each other; neither exists here yet.
fn queue_switches(env: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
    let fairness = env_bool(env, "ENABLE_FAIRNESS_SCHEDULING", false);
    let boost = env_bool(env, "ENABLE_SESSION_BOOST", false);
    ensure!(
        !(fairness && boost),
        "ENABLE_FAIRNESS_SCHEDULING and ENABLE_SESSION_BOOST exclude each other"
    );
    let asked = if fairness {
        "ENABLE_FAIRNESS_SCHEDULING"
    } else {
        "ENABLE_SESSION_BOOST"
    };
    Ok((fairness || boost).then(|| format!("{asked}: this release has no request queue")))
}

fn request_rate(args: &Args) -> Option<RequestRate> {
    let per_second = if args.kube_api_qps > 0.0 {
        args.kube_api_qps
    } else {
        5.0
    };
    let burst = NonZeroU32::new(args.kube_api_burst).or(NonZeroU32::new(10))?;
    Some(RequestRate { per_second, burst })
}

fn access_log(env: &impl Fn(&str) -> Option<String>) -> Option<(AccessLogFormat, AccessLogOutput)> {
    if !env_bool(env, "ACCESS_LOG_ENABLED", true) {
        return None;
    }
    let format = match env("ACCESS_LOG_FORMAT").as_deref() {
        Some("json") => AccessLogFormat::Json,
        _ => AccessLogFormat::Text,
    };
    let output = match env("ACCESS_LOG_OUTPUT").as_deref() {
        None | Some("" | "stdout") => AccessLogOutput::Stdout,
        Some("stderr") => AccessLogOutput::Stderr,
        Some(path) => AccessLogOutput::File(path.into()),
    };
    Some((format, output))
}

/// `auth` in the config file must not be ignored: requests would be let in that nobody checked.
fn check_config_file(path: &Path) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ok(());
    };
    let config: serde_json::Value = serde_yaml_ng::from_str(&text)
        .with_context(|| format!("{} is not valid", path.display()))?;
    let uri = config
        .pointer("/auth/jwksUri")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    ensure!(
        uri.is_empty(),
        "{}: auth.jwksUri: this release does not authenticate requests",
        path.display()
    );
    if config
        .get("scheduler")
        .is_some_and(|scheduler| !scheduler.is_null())
    {
        tracing::warn!(
            "{}: scheduler: this release places by least requests in flight only",
            path.display()
        );
    }
    Ok(())
}

fn env_bool(env: &impl Fn(&str) -> Option<String>, name: &str, default: bool) -> bool {
    env(name).as_deref().and_then(go_bool).unwrap_or(default)
}

fn env_duration(
    env: &impl Fn(&str) -> Option<String>,
    name: &str,
    zero_is_valid: bool,
    default: Duration,
    warnings: &mut Vec<String>,
) -> Duration {
    let Some(text) = env(name).filter(|text| !text.is_empty()) else {
        return default;
    };
    let parsed = text.parse::<GoDuration>().ok().and_then(GoDuration::to_std);
    parsed
        .filter(|duration| zero_is_valid || !duration.is_zero())
        .unwrap_or_else(|| {
            warnings.push(format!(
                "{name}: {text:?} is no valid duration; {default:?} is used"
            ));
            default
        })
}

/// The words Go takes for true and false.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
