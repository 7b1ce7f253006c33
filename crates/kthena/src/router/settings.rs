//! Flags and environment of `kthena router` as they are meant.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use kthena_api::duration::GoDuration;
use kthena_cluster::{ClientConfig, RequestRate};
use kthena_controllers_webhook::WebhookConfig;
use kthena_router_proxy::{
    AccessLogFormat, AccessLogOutput, CertificateCheck, EngineTrust, ErrorStyle, EventSource,
    KvConfig, KvSource, Limits, LocalTokenizer, QueueConfig, RedisAddress, RedisConfig,
    RouterConfig, SchedulerConfig, ScorerName, ScrapeConfig, SharingConfig, TlsFiles, TokensConfig,
};

use super::flags::{Args, GoFlag, KvIndexSource, local_tokenizer};
use super::webhook;

/// How often certificate files are looked at for a new pair.
const TLS_RELOAD: Duration = Duration::from_secs(10);

/// What a request may wait for Redis.
const REDIS_BUDGET: Duration = Duration::from_millis(50);

/// Flags and environment as they are meant.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) router: RouterConfig,
    pub(super) client: ClientConfig,
    /// `None` if no admission is served.
    pub(super) webhook: Option<WebhookConfig>,
    /// What was asked for but is not done, or was not understood.
    pub(super) warnings: Vec<String>,
}

pub(super) fn resolve(
    args: &Args,
    env: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Settings> {
    let mut warnings = Vec::new();
    let tls = tls(args)?;
    warn_of_absent(args, &mut warnings)?;
    let (queue, misread) = QueueConfig::from_env(&env);
    warnings.extend(misread);
    let (redis, misread) = RedisConfig::from_env(&env);
    warnings.extend(misread);

    let defaults = RouterConfig::default();
    let listen = |port: NonZeroU16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.get()));
    let legacy = flag("legacy-errors", args.legacy_errors.as_ref())?;
    let legacy = legacy.unwrap_or_else(|| env_bool(&env, "LEGACY_ERRORS", false));
    let router = RouterConfig {
        listen: listen(args.port),
        tls,
        engine_trust: engine_trust(args, &mut warnings)?,
        // Whoever reaches it sees everything, so it must not be on the pod's address.
        debug_listen: Some(SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            args.debug_port.get(),
        ))),
        limits: limits(args, defaults.limits),
        explain: flag("enable-explain-header", args.enable_explain_header.as_ref())?
            .unwrap_or(false),
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
        queue,
        sharing: redis.map(|redis| SharingConfig::new(redis, router_name(&env))),
        scrape: Some(ScrapeConfig::every(env_duration(
            &env,
            "METRICS_SCRAPE_INTERVAL",
            false,
            ScrapeConfig::default().interval,
            &mut warnings,
        ))),
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
        webhook: webhook::resolve(args, &env)?,
        warnings,
    })
}

pub(super) fn flag(name: &str, value: Option<&GoFlag>) -> anyhow::Result<Option<bool>> {
    match value.map(|text| (text, go_bool(text))) {
        None => Ok(None),
        Some((_, Some(value))) => Ok(Some(value)),
        Some((text, None)) => bail!("--{name}: {text:?} is neither true nor false"),
    }
}

fn tls(args: &Args) -> anyhow::Result<Option<TlsFiles>> {
    ensure!(
        args.tls_cert.is_empty() == args.tls_key.is_empty(),
        "--tls-cert and --tls-key need each other"
    );
    Ok((!args.tls_cert.is_empty()).then(|| TlsFiles {
        certificate: args.tls_cert.clone().into(),
        key: args.tls_key.clone().into(),
        reload: TLS_RELOAD,
    }))
}

fn limits(args: &Args, mut limits: Limits) -> Limits {
    limits.body = args.max_request_bytes.get();
    limits.head = args.max_header_bytes.get();
    limits.head_time = args.header_timeout;
    limits.idle = args.idle_timeout;
    limits.answer = Some(args.request_timeout).filter(|limit| !limit.is_zero());
    limits.engine_idle = Some(args.engine_idle_timeout).filter(|limit| !limit.is_zero());
    limits
}

fn engine_trust(args: &Args, warnings: &mut Vec<String>) -> anyhow::Result<EngineTrust> {
    let skip = flag(
        "engine-insecure-skip-verify",
        args.engine_insecure_skip_verify.as_ref(),
    )?;
    let check = if skip.unwrap_or(false) {
        warnings.push(
            "--engine-insecure-skip-verify: whoever is in between can read and change what engines are told"
                .to_owned(),
        );
        CertificateCheck::Off
    } else {
        CertificateCheck::Full
    };
    Ok(EngineTrust {
        authorities: args.engine_ca_cert.clone(),
        name: args.engine_tls_server_name.clone(),
        check,
        reload: TLS_RELOAD,
    })
}

/// Warns of flags that ask for what this release lacks.
fn warn_of_absent(args: &Args, warnings: &mut Vec<String>) -> anyhow::Result<()> {
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
    Ok(())
}

/// What other routers know this one by. Two processes must not share it, so it holds the process's number too.
fn router_name(env: &impl Fn(&str) -> Option<String>) -> String {
    let host = ["POD_NAME", "HOSTNAME"].into_iter().find_map(env);
    let host = host.unwrap_or_else(|| "router".to_owned());
    format!("{host}-{}", std::process::id())
}

/// How it is found out what engines hold, for the policy that asks for it; `None` = nobody asks.
pub(super) fn kv(
    args: &Args,
    scheduler: &SchedulerConfig,
    env: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<KvConfig>> {
    let asked = scheduler
        .scorers
        .iter()
        .any(|(name, _)| *name == ScorerName::KvcacheAware);
    let (redis, _) = RedisConfig::from_env(&env);
    // A plugin may come to need it later; nobody is listened to before.
    let source = args.kv_index.unwrap_or(match redis {
        Some(_) if asked => KvIndexSource::Redis,
        _ => KvIndexSource::Events,
    });
    let source = match (source, redis) {
        (KvIndexSource::Off, _) => return Ok(None),
        (KvIndexSource::Redis, None) => bail!("--kv-index=redis needs REDIS_HOST"),
        (KvIndexSource::Redis, Some(redis)) => KvSource::Redis {
            address: RedisAddress {
                host: redis.host,
                port: redis.port,
                database: 0,
                password: Some(redis.password).filter(|password| !password.is_empty()),
            },
            budget: REDIS_BUDGET,
        },
        (KvIndexSource::Events, _) => KvSource::Events(EventSource {
            port: args.kv_events_port.get(),
            ranks: args.kv_events_ranks.get(),
            topic: args.kv_events_topic.clone(),
            replay_port: args.kv_events_replay_port.map(NonZeroU16::get),
            budget: args.kv_index_bytes.get(),
        }),
    };
    Ok(Some(KvConfig {
        source,
        tokens: TokensConfig {
            local: tokenizers(args, &env)?,
            ..TokensConfig::default()
        },
    }))
}

/// The models whose prompts are tokenized here.
pub(super) fn tokenizers(
    args: &Args,
    env: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Vec<LocalTokenizer>> {
    const NAME: &str = "KTHENA_TOKENIZERS";
    let mut found = args.tokenizers.clone();
    if found.is_empty() {
        let text = env(NAME).unwrap_or_default();
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let one =
                local_tokenizer(item).map_err(|problem| anyhow!("{NAME}: {item:?}: {problem}"))?;
            found.push(one);
        }
    }
    for (at, one) in found.iter().enumerate() {
        let model = &one.model;
        ensure!(
            found[..at].iter().all(|other| other.model != *model),
            "--tokenizer: the model {model:?} is named twice"
        );
    }
    Ok(found)
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
