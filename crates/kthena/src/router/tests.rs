use std::collections::HashMap;

use clap::Parser;
use rstest::rstest;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use kthena_router_proxy::{
    AccessLogFormat, AccessLogOutput, CertificateCheck, ErrorStyle, KvSource, LocalTokenizer,
    RouterConfig, SchedulerConfig, ScorerName, ScrapeConfig,
};

use super::settings::{Settings, resolve};
use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

/// What flags and environment come to if nobody says anything.
fn defaults() -> RouterConfig {
    RouterConfig {
        debug_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 15000))),
        scrape: Some(ScrapeConfig::default()),
        ..RouterConfig::default()
    }
}

fn settings(flags: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let program = Program::try_parse_from(std::iter::once("router").chain(flags.iter().copied()))?;
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    resolve(&program.args, |name| env.get(name).map(ToString::to_string))
}

#[test]
fn defaults_are_those_of_the_old_program_and_warn_of_nothing() {
    let settings = settings(&[], &[]).unwrap();

    assert_eq!(settings.router, defaults());
    assert_eq!(settings.warnings, Vec::<String>::new());
    let router = settings.router;
    assert_eq!(
        (router.listen.port(), router.metrics_listen.unwrap().port()),
        (8080, 9090)
    );
    assert_eq!(
        (router.drain_timeout.as_secs(), router.lame_duck.as_secs()),
        (300, 5)
    );
}

#[test]
fn both_queues_and_shared_counts_come_from_the_environment() {
    let env = [
        ("ENABLE_FAIRNESS_SCHEDULING", "1"),
        ("ENABLE_SESSION_BOOST", "T"),
        ("REDIS_HOST", "redis"),
        ("HOSTNAME", "router-0"),
    ];

    let router = settings(&[], &env).unwrap().router;

    assert!(router.queue.fairness.is_some() && router.queue.boost.is_some());
    let sharing = router.sharing.unwrap();
    assert_eq!(
        (sharing.redis.host.as_str(), sharing.redis.port),
        ("redis", 6379)
    );
    assert!(sharing.router.starts_with("router-0-"));
}

#[rstest]
#[case::for_whoever_asks_later(&[], &[], false, Some("events"))]
#[case::redis_for_other_things(&[], &[("REDIS_HOST", "redis")], false, Some("events"))]
#[case::events_by_themselves(&[], &[], true, Some("events"))]
#[case::redis_where_there_is_one(&[], &[("REDIS_HOST", "redis")], true, Some("redis"))]
#[case::events_beside_a_redis(&["--kv-index=events"], &[("REDIS_HOST", "redis")], true, Some("events"))]
#[case::for_a_policy_that_need_not(&["--kv-index=events"], &[], false, Some("events"))]
#[case::switched_off(&["--kv-index=off"], &[], true, None)]
fn where_cache_contents_are_known_from(
    #[case] flags: &[&str],
    #[case] env: &[(&str, &str)],
    #[case] kvcache_aware: bool,
    #[case] wanted: Option<&str>,
) {
    let program =
        Program::try_parse_from(std::iter::once("router").chain(flags.iter().copied())).unwrap();
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let mut scheduler = SchedulerConfig::default();
    if kvcache_aware {
        scheduler.scorers.push((ScorerName::KvcacheAware, 1));
    }

    let kv = super::settings::kv(&program.args, &scheduler, |name| {
        env.get(name).map(ToString::to_string)
    });

    let source = kv.unwrap().map(|kv| match kv.source {
        KvSource::Events(events) => {
            assert_eq!(events.port, 5557);
            "events"
        }
        KvSource::Redis { .. } => "redis",
    });
    assert_eq!(source, wanted);
}

#[rstest]
#[case::flags(&["--tokenizer=a=/models/a", "--tokenizer", "b=/models/x=y"], "c=/z")]
#[case::environment(&[], "a=/models/a, b=/models/x=y,")]
fn tokenizers_of_models(#[case] flags: &[&str], #[case] env: &str) {
    let local = local_tokenizers(flags, env).unwrap();
    let found: Vec<_> = local
        .iter()
        .map(|one| (one.model.as_str(), one.folder.to_str().unwrap()))
        .collect();
    assert_eq!(found, [("a", "/models/a"), ("b", "/models/x=y")]);
}

#[rstest]
#[case::no_folder(&["--tokenizer=a"], "")]
#[case::no_model(&["--tokenizer==/x"], "")]
#[case::twice(&["--tokenizer=a=/x", "--tokenizer=a=/y"], "")]
#[case::in_the_environment(&[], "a")]
fn tokenizers_that_are_none(#[case] flags: &[&str], #[case] env: &str) {
    assert!(local_tokenizers(flags, env).is_err());
}

#[test]
fn no_tokenizers() {
    assert_eq!(local_tokenizers(&[], "").unwrap(), []);
}

fn local_tokenizers(flags: &[&str], env: &str) -> anyhow::Result<Vec<LocalTokenizer>> {
    let flags = ["router", "--kv-index=events"].iter().chain(flags).copied();
    let program = Program::try_parse_from(flags)?;
    let env = |name: &str| (name == "KTHENA_TOKENIZERS").then(|| env.to_owned());
    let kv = super::settings::kv(&program.args, &SchedulerConfig::default(), env)?;
    Ok(kv.map(|kv| kv.tokens.local).unwrap_or_default())
}

#[test]
fn an_index_in_redis_needs_a_redis() {
    let program = Program::try_parse_from(["router", "--kv-index=redis"]).unwrap();

    let kv = super::settings::kv(&program.args, &SchedulerConfig::default(), |_| None);

    assert!(kv.unwrap_err().to_string().contains("REDIS_HOST"));
}

#[test]
fn every_flag_of_existing_manifests_is_accepted() {
    let flags = [
        "--port=8081",
        "--metrics-port",
        "9091",
        "--debug-port=15001",
        "--enable-webhook=false",
        "--webhook-port=9443",
        "--webhook-tls-cert-file=/a",
        "--webhook-tls-private-key-file=/b",
        "--cert-secret-name=c",
        "--webhook-service-name=d",
        "--enable-gateway-api=false",
        "--enable-gateway-api-inference-extension=false",
        "--expose-metrics-on-router-port",
        "--kube-api-qps=50.5",
        "--kube-api-burst=100",
        "-v=4",
        "--logtostderr=true",
        "--alsologtostderr",
        "--stderrthreshold=INFO",
        "--skip_headers",
        "--log_dir=/tmp",
        "--one_output=false",
        "--vmodule=a=1",
    ];

    let settings = settings(&flags, &[]).unwrap();

    assert_eq!(settings.warnings, Vec::<String>::new());
    assert!(settings.router.expose_metrics);
    assert_eq!(settings.router.listen.port(), 8081);
}

#[rstest]
#[case::by_default(&[], &[], "default", 8443)]
#[case::asked_for(&["--enable-webhook", "--webhook-port=9443"], &[("POD_NAMESPACE", "serving")], "serving", 9443)]
fn w1_the_router_serves_admission(
    #[case] flags: &[&str],
    #[case] env: &[(&str, &str)],
    #[case] namespace: &str,
    #[case] port: u16,
) {
    let webhook = settings(flags, env).unwrap().webhook.unwrap();

    assert_eq!(
        (webhook.namespace.as_str(), webhook.listen.port()),
        (namespace, port)
    );
    assert_eq!(webhook.secret, "kthena-router-webhook-certs");
    assert_eq!(webhook.service, "kthena-router-webhook");
    assert_eq!(webhook.certificate.to_str(), Some("/etc/tls/tls.crt"));
    let paths: Vec<_> = webhook.endpoints.iter().map(|one| one.path).collect();
    assert_eq!(
        paths,
        [
            "/validate/modelroute",
            "/validate/modelserver",
            "/validate/externalmodelprovider"
        ]
    );
}

#[test]
fn admission_can_be_switched_off() {
    assert_eq!(
        settings(&["--enable-webhook=false"], &[]).unwrap().webhook,
        None
    );
}

#[rstest]
#[case::unknown_flag(&["--nonsense"], &[])]
#[case::port_zero(&["--metrics-port=0"], &[])]
#[case::port_too_large(&["--port=65536"], &[])]
#[case::key_without_certificate(&["--tls-key=/k"], &[])]
#[case::certificate_without_key(&["--tls-cert=/c"], &[])]
#[case::no_header_time(&["--header-timeout=0s"], &[])]
#[case::no_duration(&["--idle-timeout=30"], &[])]
#[case::no_body(&["--max-request-bytes=0"], &[])]
#[case::no_idle_time(&["--engine-idle-timeout=-1s"], &[])]
#[case::extension_without_gateway(&["--enable-gateway-api-inference-extension"], &[])]
#[case::no_go_bool(&["--enable-webhook=yes"], &[])]
fn what_stops_the_start(#[case] flags: &[&str], #[case] env: &[(&str, &str)]) {
    assert!(settings(flags, env).is_err());
}

#[rstest]
#[case::gateway(&["--enable-gateway-api"], &[], "--enable-gateway-api")]
#[case::drain_timeout(&[], &[("DRAIN_TIMEOUT", "300")], "DRAIN_TIMEOUT")]
#[case::drain_timeout_zero(&[], &[("DRAIN_TIMEOUT", "0s")], "DRAIN_TIMEOUT")]
#[case::scrape_interval(&[], &[("METRICS_SCRAPE_INTERVAL", "0s")], "METRICS_SCRAPE_INTERVAL")]
fn what_is_warned_of(#[case] flags: &[&str], #[case] env: &[(&str, &str)], #[case] named: &str) {
    let settings = settings(flags, env).unwrap();

    assert_eq!(settings.warnings.len(), 1);
    assert!(
        settings.warnings[0].starts_with(&format!("{named}:")),
        "{:?}",
        settings.warnings
    );
    assert_eq!(settings.router, defaults());
}

#[test]
fn the_environment_is_read() {
    let env = [
        ("DRAIN_TIMEOUT", "1m30s"),
        ("SHUTDOWN_DELAY", "0s"),
        ("ACCESS_LOG_FORMAT", "json"),
        ("ACCESS_LOG_OUTPUT", "/var/log/a"),
        ("LEGACY_ERRORS", "true"),
    ];

    let router = settings(&[], &env).unwrap().router;

    assert_eq!(
        (router.drain_timeout.as_secs(), router.lame_duck.as_secs()),
        (90, 0)
    );
    assert_eq!(
        router.access_log,
        Some((
            AccessLogFormat::Json,
            AccessLogOutput::File("/var/log/a".into())
        ))
    );
    assert_eq!(router.error_style, ErrorStyle::Legacy);
    assert_eq!(
        settings(&[], &[("ACCESS_LOG_ENABLED", "f")])
            .unwrap()
            .router
            .access_log,
        None
    );
    assert_eq!(
        settings(&["--legacy-errors=false"], &env)
            .unwrap()
            .router
            .error_style,
        ErrorStyle::OpenAi
    );
}

#[test]
fn tls_and_limits() {
    let flags = [
        "--tls-cert=/tls/tls.crt",
        "--tls-key=/tls/tls.key",
        "--max-request-bytes=1000",
        "--max-header-bytes=2000",
        "--header-timeout=3s",
        "--idle-timeout=1m30s",
        "--enable-explain-header",
    ];

    let router = settings(&flags, &[]).unwrap().router;

    let tls = router.tls.unwrap();
    assert_eq!(
        (tls.certificate.as_path(), tls.key.as_path()),
        (Path::new("/tls/tls.crt"), Path::new("/tls/tls.key"))
    );
    let limits = router.limits;
    assert_eq!((limits.body, limits.head), (1000, 2000));
    assert_eq!((limits.head_time.as_secs(), limits.idle.as_secs()), (3, 90));
    assert!(router.explain);
}

#[test]
fn how_engines_are_trusted_and_how_long_they_may_be_silent() {
    let flags = [
        "--engine-ca-cert=/tls/ca.crt",
        "--engine-tls-server-name=engines.example",
        "--engine-idle-timeout=90s",
        "--request-timeout=2m",
    ];
    let router = settings(&flags, &[]).unwrap().router;
    let trust = router.engine_trust;
    assert_eq!(
        (trust.authorities.as_deref(), trust.name.as_deref()),
        (Some(Path::new("/tls/ca.crt")), Some("engines.example"))
    );
    assert_eq!(trust.check, CertificateCheck::Full);
    assert_eq!(
        router.limits.engine_idle.map(|limit| limit.as_secs()),
        Some(90)
    );
    assert_eq!(router.limits.answer.map(|limit| limit.as_secs()), Some(120));

    let flags = ["--engine-insecure-skip-verify", "--engine-idle-timeout=0s"];
    let loose = settings(&flags, &[]).unwrap();
    assert_eq!(loose.router.engine_trust.check, CertificateCheck::Off);
    assert_eq!(loose.router.limits.engine_idle, None);
    assert_eq!(loose.router.limits.answer, None);
    assert_eq!(loose.warnings.len(), 1, "{:?}", loose.warnings);
}
