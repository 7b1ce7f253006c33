use super::*;
use crate::labels::BackendKind;
use crate::usage::Usage;

fn destination() -> Destination {
    Destination {
        route: "ns/r".into(),
        kind: BackendKind::ModelServer,
        backend: "ns/s".into(),
        upstream_model: "u".into(),
    }
}

fn record(status: u16) -> Record {
    Record {
        status,
        input_tokens: 8,
        usage: Some(Usage {
            prompt: 9,
            completion: 4,
        }),
        ..Record::new(std::time::UNIX_EPOCH)
    }
}

fn own_families(metrics: &Metrics) -> String {
    let text = metrics.render();
    text.split_inclusive('\n')
        .filter(|line| line.contains("kthena_router_"))
        .collect()
}

#[test]
fn the_exposition() {
    let metrics = Metrics::default();
    let model: Arc<str> = "m\"x".into();
    let cell = metrics.cell(&model, "/v1/completions", Some(&destination()));
    cell.finish(&record(200), None, Duration::from_millis(30));
    cell.finish(
        &record(200),
        Some("response_forwarding"),
        Duration::from_secs(100),
    );
    metrics.cell(&UNKNOWN_MODEL.into(), "other", None).finish(
        &record(404),
        Some("route_not_found"),
        Duration::ZERO,
    );
    let _held = (metrics.enter(), metrics.downstream(&model), cell.upstream());

    insta::assert_snapshot!(own_families(&metrics));
}

#[test]
fn halves_of_shared_requests_are_summed_over_destinations() {
    let metrics = Metrics::default();
    let model: Arc<str> = "m".into();
    let other = Destination {
        backend: "ns/t".into(),
        ..destination()
    };
    for place in [&destination(), &other] {
        let cell = metrics.cell(&model, "/v1/completions", Some(place));
        cell.finish_phase(Phase::Prefill, true, Duration::from_millis(20));
        cell.finish_phase(Phase::Decode, false, Duration::from_secs(2));
    }

    let text = own_families(&metrics);

    for line in [
        "request_prefill_duration_seconds_bucket{model=\"m\",path=\"/v1/completions\",status_code=\"200\",le=\"0.01\"} 0\n",
        "request_prefill_duration_seconds_bucket{model=\"m\",path=\"/v1/completions\",status_code=\"200\",le=\"0.025\"} 2\n",
        "request_prefill_duration_seconds_sum{model=\"m\",path=\"/v1/completions\",status_code=\"200\"} 0.04\n",
        "request_decode_duration_seconds_count{model=\"m\",path=\"/v1/completions\",status_code=\"500\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains(
        "prefill_duration_seconds_count{model=\"m\",path=\"/v1/completions\",status_code=\"500\""
    ));
}

#[test]
fn refusals_are_summed_over_destinations() {
    let metrics = Metrics::default();
    let model: Arc<str> = "m".into();
    for place in [None, Some(&destination())] {
        let cell = metrics.cell(&model, "/v1/completions", place);
        cell.refuse(TokenLimit::Input);
    }
    metrics
        .cell(&model, "other", None)
        .refuse(TokenLimit::Output);

    let text = own_families(&metrics);

    let family: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("kthena_router_rate_limit"))
        .collect();
    assert_eq!(
        family,
        [
            r#"kthena_router_rate_limit_exceeded_total{model="m",limit_type="input_tokens",path="/v1/completions"} 2"#,
            r#"kthena_router_rate_limit_exceeded_total{model="m",limit_type="output_tokens",path="other"} 1"#,
        ]
    );
}

#[test]
fn gauges_return_when_their_guards_drop() {
    let metrics = Metrics::default();
    let cell = metrics.cell(&"m".into(), "other", Some(&destination()));
    let held = (metrics.enter(), metrics.downstream("m"), cell.upstream());
    assert_eq!(
        (metrics.active(), cell.upstream.load(Ordering::Relaxed)),
        (1, 1)
    );

    drop(held);

    assert_eq!(
        (metrics.active(), cell.upstream.load(Ordering::Relaxed)),
        (0, 0)
    );
    assert!(
        metrics
            .render()
            .contains("active_downstream_requests{model=\"m\"} 0")
    );
}

#[test]
fn series_of_a_model_leave_with_its_last_route_once_nothing_runs() {
    let metrics = Metrics::default();
    metrics
        .cell(&"m".into(), "other", None)
        .finish(&record(200), None, Duration::ZERO);
    let running = metrics.downstream("m");

    metrics.retain_models(|_| false);
    assert!(metrics.render().contains("model=\"m\""));
    drop(running);
    metrics.retain_models(|_| false);

    assert!(!metrics.render().contains("model=\"m\""));
}

#[test]
fn w9_the_webhook_has_a_series_once_it_is_served() {
    let metrics = Metrics::default();
    assert!(!metrics.render().contains("webhook_up"));

    for (is_up, line) in [
        (false, "kthena_router_webhook_up 0"),
        (true, "kthena_router_webhook_up 1"),
    ] {
        metrics.set_webhook_up(is_up);
        let text = metrics.render();
        assert!(text.lines().any(|one| one == line), "{text}");
    }
}

#[test]
fn figures_of_the_process_are_there() {
    let text = Metrics::default().render();

    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        assert!(
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 0.0,
            "{line}"
        );
    }
}
