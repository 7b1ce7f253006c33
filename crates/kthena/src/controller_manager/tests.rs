use clap::Parser;

use super::Args;
use super::controllers::{Controller, enabled, serves_leader_worker_sets};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
    Program::try_parse_from(std::iter::once("controller-manager").chain(flags.iter().copied()))
        .map(|program| program.args)
}

#[test]
fn r101_controllers_list() {
    use Controller::{Autoscaler, ModelBooster, ModelServing};
    let all = [ModelServing, ModelBooster, Autoscaler];
    let cases: [(&str, &[Controller]); 12] = [
        ("*", &all),
        ("", &all),
        (" , ,", &all),
        ("modelserving", &[ModelServing]),
        ("+modelserving", &[ModelServing]),
        (" modelserving , autoscaler ", &[ModelServing, Autoscaler]),
        ("*,-autoscaler", &[ModelServing, ModelBooster]),
        ("-autoscaler", &[ModelServing, ModelBooster]),
        ("-modelserving,+modelserving", &[ModelServing]),
        ("nonsense", &all),
        ("nonsense,autoscaler", &[Autoscaler]),
        ("-modelserving,-modelbooster,-autoscaler", &all),
    ];
    for (list, expected) in cases {
        assert_eq!(
            enabled(list).into_iter().collect::<Vec<_>>(),
            expected,
            "{list:?}"
        );
    }
}

#[test]
fn r89_leader_worker_sets_come_with_the_controller_unless_they_are_excluded() {
    use Controller::{Autoscaler, ModelBooster, ModelServing};
    let cases = [
        ("*", true),
        ("", true),
        ("modelserving", true),
        ("-leaderworkerset", false),
        ("*, -leaderworkerset", false),
        ("modelserving,-leaderworkerset", false),
        ("-leaderworkerset,+leaderworkerset", true),
    ];
    for (list, expected) in cases {
        assert_eq!(serves_leader_worker_sets(list), expected, "{list:?}");
        assert!(enabled(list).contains(&ModelServing), "{list:?}");
    }
    let all = [ModelServing, ModelBooster, Autoscaler];
    assert_eq!(
        enabled("-leaderworkerset").into_iter().collect::<Vec<_>>(),
        all,
        "an exclusion implies the rest"
    );
    let args = parse(&["--controllers=-leaderworkerset"]).unwrap();
    assert!(!args.resolve("host").unwrap().driver.leader_worker_sets);
}

#[test]
fn the_flags_of_old_manifests_are_accepted() {
    let args = parse(&[
        "--v=2",
        "--kube-api-qps=50",
        "--kube-api-burst=100",
        "--enable-webhook=false",
        "--leader-elect=false",
        "--workers=3",
        "--controllers=-autoscaler",
        "--logtostderr=true",
        "--stderrthreshold=2",
        "--skip_headers",
        "--log_file_max_size=1800",
        "--autoscaling-sync-period-seconds=15",
        "--webhook-timeout=30",
        "--cert-secret-name=certs",
        "--service-name=webhook",
        "--tls-cert-file=/etc/tls/tls.crt",
        "--tls-private-key-file=/etc/tls/tls.key",
        "--port=8443",
    ])
    .unwrap();

    let resolved = args.resolve("host").unwrap();

    assert_eq!(resolved.driver.workers.get(), 3);
    let rate = resolved.client.rate.unwrap();
    assert_eq!((rate.per_second, rate.burst.get()), (50.0, 100));
    let warnings = resolved.warnings.join("\n");
    assert!(warnings.contains("--stderrthreshold"), "{warnings}");
    assert!(warnings.contains("modelbooster is not part"), "{warnings}");
    assert!(resolved.webhook.is_none());
}

#[test]
fn defaults_are_those_of_the_specification() {
    let args = parse(&[]).unwrap();
    assert!(args.enable_webhook && !args.leader_elect);
    assert_eq!(
        (args.port, args.webhook_timeout, args.debug_port),
        (8443, 30, 0)
    );
    assert_eq!(args.autoscaling_sync_period_seconds, 15);

    let resolved = args.resolve("host").unwrap();

    assert_eq!(resolved.client, kthena_cluster::ClientConfig::default());
    assert_eq!(resolved.driver.workers.get(), 5);
    let webhook = resolved.webhook.unwrap();
    assert_eq!(webhook.listen.port(), 8443);
    assert_eq!(webhook.secret, "kthena-controller-manager-webhook-certs");
    assert_eq!(webhook.service, "kthena-controller-manager-webhook");
    assert_eq!(webhook.certificate.to_str(), Some("/etc/tls/tls.crt"));
}

#[test]
fn what_cannot_work_is_refused() {
    assert!(parse(&["--workers=0"]).is_err());
    let error = parse(&["--controllers=autoscaler"])
        .unwrap()
        .resolve("host")
        .unwrap_err();
    assert!(error.to_string().contains("this version has"), "{error}");
}
