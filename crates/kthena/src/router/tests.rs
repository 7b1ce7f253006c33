use std::collections::HashMap;

use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

fn settings(flags: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let program = Program::try_parse_from(std::iter::once("router").chain(flags.iter().copied()))?;
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    resolve(&program.args, |name| env.get(name).map(ToString::to_string))
}

#[test]
fn defaults_are_those_of_the_old_program_and_warn_of_nothing() {
    let settings = settings(&[], &[]).unwrap();

    assert_eq!(settings.router, RouterConfig::default());
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
#[case::unknown_flag(&["--nonsense"], &[])]
#[case::port_zero(&["--metrics-port=0"], &[])]
#[case::port_too_large(&["--port=65536"], &[])]
#[case::key_without_certificate(&["--tls-key=/k"], &[])]
#[case::tls_is_not_served(&["--tls-key=/k", "--tls-cert=/c"], &[])]
#[case::extension_without_gateway(&["--enable-gateway-api-inference-extension"], &[])]
#[case::no_go_bool(&["--enable-webhook=yes"], &[])]
#[case::two_queue_modes(&[], &[("ENABLE_FAIRNESS_SCHEDULING", "1"), ("ENABLE_SESSION_BOOST", "T")])]
fn what_stops_the_start(#[case] flags: &[&str], #[case] env: &[(&str, &str)]) {
    assert!(settings(flags, env).is_err());
}

#[rstest]
#[case::gateway(&["--enable-gateway-api"], &[], "--enable-gateway-api")]
#[case::webhook_asked_for(&["--enable-webhook"], &[], "--enable-webhook")]
#[case::drain_timeout(&[], &[("DRAIN_TIMEOUT", "300")], "DRAIN_TIMEOUT")]
#[case::drain_timeout_zero(&[], &[("DRAIN_TIMEOUT", "0s")], "DRAIN_TIMEOUT")]
#[case::fairness(&[], &[("ENABLE_FAIRNESS_SCHEDULING", "true")], "ENABLE_FAIRNESS_SCHEDULING")]
fn what_is_warned_of(#[case] flags: &[&str], #[case] env: &[(&str, &str)], #[case] named: &str) {
    let settings = settings(flags, env).unwrap();

    assert_eq!(settings.warnings.len(), 1);
    assert!(
        settings.warnings[0].starts_with(&format!("{named}:")),
        "{:?}",
        settings.warnings
    );
    assert_eq!(settings.router, RouterConfig::default());
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

#[rstest]
#[case::authentication("auth:\n  jwksUri: https://issuer/keys\n", false)]
#[case::no_yaml("a: [", false)]
#[case::scheduler_only("scheduler:\n  pluginConfig: []\n", true)]
#[case::empty_auth("auth:\n  jwksUri: \"\"\n", true)]
fn a_config_file_that_cannot_be_honoured_stops_the_start(
    #[case] text: &str,
    #[case] accepted: bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routerConfiguration.yaml");
    std::fs::write(&path, text).unwrap();

    assert_eq!(check_config_file(&path).is_ok(), accepted);
    assert!(check_config_file(&folder.path().join("missing")).is_ok());
}
