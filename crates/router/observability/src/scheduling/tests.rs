use super::*;

/// Lines of the exposition that begin with `kthena_router_` and `name`.
fn lines(text: &str, name: &str) -> Vec<String> {
    let prefix = format!("kthena_router_{name}");
    let lines = text.lines().filter(|line| line.starts_with(&prefix));
    lines.map(ToOwned::to_owned).collect()
}

fn written(act: impl FnOnce(&SchedulingCell)) -> String {
    let metrics = SchedulingMetrics::default();
    act(&metrics.cell(&"m\"1".into()));
    let mut text = String::new();
    metrics.write(&mut text);
    text
}

#[test]
fn misses_and_whole_matches_have_buckets_of_their_own() {
    let text = written(|cell| {
        for share in [0.0, 0.0, 0.5, 1.0] {
            cell.prefix_matched(share);
        }
    });
    let lines = lines(&text, PREFIX_RATIO);
    let bucket = |bound: &str, count: u32| {
        format!(
            "kthena_router_prefix_cache_match_ratio_bucket{{model=\"m\\\"1\",le=\"{bound}\"}} {count}"
        )
    };
    assert_eq!(lines[0], bucket("0", 2));
    assert_eq!(lines[3], bucket("0.5", 3));
    assert_eq!(lines[7], bucket("0.99", 3));
    assert_eq!(lines[8], bucket("1", 4));
    assert_eq!(lines[9], bucket("+Inf", 4));
    assert_eq!(
        lines[10],
        "kthena_router_prefix_cache_match_ratio_sum{model=\"m\\\"1\"} 1.5"
    );
    assert_eq!(lines.len(), 12);
}

#[test]
fn a_model_without_attempts_has_no_ratio() {
    let text = written(|cell| cell.kv_matched(1.0));
    assert!(lines(&text, PREFIX_RATIO).is_empty());
    assert_eq!(lines(&text, KV_RATIO).len(), 12);
}

#[test]
fn edges_of_what_finding_out_takes() {
    let text = written(|cell| {
        for stage in [KvStage::Tokenize, KvStage::Redis] {
            cell.kv_took(stage, Duration::from_millis(3));
        }
    });

    for family in [KV_TOKENIZE, KV_READ] {
        let lines = lines(&text, family);
        let edges: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split_once("le=\"")?.1.split_once('"'))
            .map(|(edge, _)| edge)
            .collect();
        assert_eq!(
            edges.join(" "),
            "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 +Inf"
        );
    }
}

#[test]
fn plugins_are_timed_by_name_and_kind() {
    let text = written(|cell| {
        cell.plugin_ran("least-request", "filter", Duration::from_micros(10));
        cell.plugin_ran("least-request", "score", Duration::from_millis(2));
        cell.plugin_ran("least-request", "score", Duration::from_secs(1));
    });
    let counts: Vec<String> = lines(&text, PLUGIN_DURATION)
        .into_iter()
        .filter(|line| line.contains("_count"))
        .collect();
    let count = |kind: &str, count: u32| {
        format!(
            "kthena_router_scheduler_plugin_duration_seconds_count{{model=\"m\\\"1\",plugin=\"least-request\",type=\"{kind}\"}} {count}"
        )
    };
    assert_eq!(counts, [count("filter", 1), count("score", 2)]);
}

#[test]
fn figures_of_the_plugins() {
    let mut text = String::new();
    let figures = SchedulingFigures {
        prefix_entries: 3,
        prefix_bytes: 504,
        prefix_evictions: [("m".to_owned(), 2)].into(),
        estimates: Some((0.5, 2.0, 4)),
    };
    figures.write(&mut text);
    let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        values,
        [
            "kthena_router_prefix_cache_entries 3",
            "kthena_router_prefix_cache_bytes 504",
            "kthena_router_prefix_cache_evictions_total{model=\"m\"} 2",
            "kthena_router_adaptive_estimate_error_seconds_total 0.5",
            "kthena_router_adaptive_first_token_seconds_total 2",
            "kthena_router_adaptive_estimates_total 4",
        ]
    );
}

#[test]
fn who_estimates_nothing_tells_nothing_of_it() {
    let mut text = String::new();
    SchedulingFigures::default().write(&mut text);
    assert!(!text.contains("adaptive"));
    assert_eq!(
        lines(&text, PREFIX_ENTRIES),
        ["kthena_router_prefix_cache_entries 0"]
    );
}

#[test]
fn finding_out_who_holds_a_prompt_is_timed_and_its_faults_counted() {
    let text = written(|cell| {
        cell.kv_took(KvStage::Tokenize, Duration::from_millis(3));
        cell.kv_took(KvStage::Tokenize, Duration::from_secs(3));
        cell.kv_failed(KvStage::Redis);
        cell.kv_failed(KvStage::Redis);
    });
    let tokenizing = lines(&text, KV_TOKENIZE);
    assert_eq!(tokenizing.len(), LEARN_BOUNDS.len() + 3);
    assert_eq!(
        tokenizing[3],
        "kthena_router_kvcache_aware_tokenize_duration_seconds_bucket{model=\"m\\\"1\",le=\"0.005\"} 1"
    );
    assert!(lines(&text, KV_READ).is_empty(), "Redis was never read");
    assert_eq!(
        lines(&text, KV_ERRORS),
        ["kthena_router_kvcache_aware_errors_total{model=\"m\\\"1\",stage=\"redis\"} 2"]
    );
}

#[test]
fn series_of_models_that_are_gone_are_dropped_once_nobody_uses_them() {
    let metrics = SchedulingMetrics::default();
    let used = metrics.cell(&"used".into());
    for model in ["used", "gone", "known", UNKNOWN_MODEL] {
        metrics.cell(&model.into()).kv_matched(1.0);
    }
    let models = |metrics: &SchedulingMetrics| {
        let mut text = String::new();
        metrics.write(&mut text);
        let counts = lines(&text, "kvcache_aware_match_ratio_count").into_iter();
        counts
            .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    metrics.retain_models(|model| model == "known");
    assert_eq!(models(&metrics), ["known", UNKNOWN_MODEL, "used"]);
    drop(used);
    metrics.retain_models(|model| model == "known");
    assert_eq!(models(&metrics), ["known", UNKNOWN_MODEL]);
}

#[test]
fn engines_that_cannot_tokenize_are_counted_by_their_servers_name_for_them() {
    let text = written(|cell| {
        cell.tokenizer_unsupported("vLLM");
        cell.tokenizer_unsupported("SGLang");
        cell.tokenizer_unsupported("vLLM");
    });
    assert_eq!(
        lines(&text, UNSUPPORTED),
        [
            "kthena_router_tokenizer_unsupported_engine_total{model=\"m\\\"1\",engine=\"SGLang\"} 1",
            "kthena_router_tokenizer_unsupported_engine_total{model=\"m\\\"1\",engine=\"vLLM\"} 2",
        ]
    );
}
