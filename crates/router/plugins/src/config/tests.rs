use std::num::{NonZeroU32, NonZeroUsize};

use rstest::rstest;

use super::*;

fn read(text: &str) -> ReadConfig {
    SchedulerConfig::read(text).unwrap()
}

/// The faults of a file, one a line.
fn faults(text: &str) -> String {
    SchedulerConfig::read(text).unwrap_err().to_string()
}

fn notices(text: &str) -> Vec<String> {
    let read = read(text);
    read.notices.iter().map(ToString::to_string).collect()
}

/// A file with these score plugins, given as YAML list.
fn scoring(enabled: &str) -> String {
    format!("scheduler: {{plugins: {{Score: {{enabled: {enabled}}}}}}}")
}

/// A file that configures one plugin.
fn with_args(plugin: &str, args: &str) -> String {
    format!(
        "scheduler:\n  pluginConfig: [{{name: {plugin}, args: {args}}}]\n  plugins: {{Score: {{enabled: [{{name: random}}]}}}}"
    )
}

#[test]
fn a_whole_file() {
    let text = "
scheduler:
  pluginConfig:
  - name: least-request
    args: {maxWaitingRequests: 3}
  - name: least-latency
    args: {TTFTTPOTWeightFactor: 0.25}
  - name: prefix-cache
    args: {blockSizeToHash: 32, maxBlocksToMatch: 64, maxHashCacheSize: 1000, topKMatches: 2, maxIndexBytes: 1048576}
  - name: kvcache-aware
    args: {blockSizeToHash: 128, maxBlocksToMatch: 32, countShortBlock: true, vllmTokenizerPort: 8001, sglangTokenizerPort: 30001}
  plugins:
    Filter: {enabled: [least-request, lora-affinity]}
    Score:
      enabled:
      - {name: least-request, weight: 2}
      - {name: prefix-cache, weight: 3}
      - {name: adaptive, weight: 1}
auth: {issuer: x}
";
    let read = read(text);

    let size = |number| NonZeroUsize::new(number).unwrap();
    let count = |number| NonZeroU32::new(number).unwrap();
    let wanted = SchedulerConfig {
        filters: vec![FilterName::LeastRequest, FilterName::LoraAffinity],
        scorers: vec![
            (ScorerName::LeastRequest, 2),
            (ScorerName::PrefixCache, 3),
            (ScorerName::Adaptive, 1),
        ],
        args: PluginArgs {
            least_request: LeastRequestConfig {
                max_waiting: count(3),
            },
            least_latency: LeastLatencyConfig { ttft_weight: 0.25 },
            prefix_cache: PrefixCacheConfig {
                block_bytes: size(32),
                max_blocks: size(64),
                per_pod: size(1000),
                top: size(2),
                budget_bytes: 1 << 20,
            },
            kvcache_aware: KvcacheAwareConfig {
                block_tokens: count(128),
                max_blocks: count(32),
                count_short_block: true,
                vllm_tokenizer_port: Some(8001),
                sglang_tokenizer_port: Some(30001),
            },
            adaptive: AdaptiveConfig::default(),
        },
    };
    assert_eq!(read.config, wanted);
    assert_eq!(read.notices, []);
}

#[test]
fn the_default() {
    let config = SchedulerConfig::default();
    assert_eq!(config.filters, [FilterName::LeastRequest]);
    assert_eq!(
        config.scorers,
        [
            (ScorerName::LeastRequest, 1),
            (ScorerName::LeastLatency, 1),
            (ScorerName::PrefixCache, 1)
        ]
    );
    let args = config.args;
    assert_eq!(args.least_request.max_waiting.get(), 10);
    assert!((args.least_latency.ttft_weight - 0.5).abs() < f64::EPSILON);
    let prefix = args.prefix_cache;
    let sizes = [
        prefix.block_bytes,
        prefix.max_blocks,
        prefix.per_pod,
        prefix.top,
    ];
    assert_eq!(sizes.map(NonZeroUsize::get), [64, 128, 50_000, 5]);
    assert_eq!(prefix.budget_bytes, 256 << 20);
    let kv = args.kvcache_aware;
    assert_eq!((kv.block_tokens.get(), kv.max_blocks.get()), (16, 128));
}

#[rstest]
#[case::empty("")]
#[case::only_auth("auth: {issuer: x}")]
fn without_a_scheduler_the_default_is_used_and_said(#[case] text: &str) {
    let read = read(text);
    assert_eq!(read.config, SchedulerConfig::default());
    assert_eq!(read.notices.len(), 1);
}

#[rstest]
#[case::not_yaml("scheduler: [")]
#[case::key_twice("scheduler: {}\nscheduler: {}")]
fn malformed_files(#[case] text: &str) {
    let error = SchedulerConfig::read(text).unwrap_err();
    assert!(matches!(error, ConfigError::Malformed(_)), "{error}");
}

#[rstest]
#[case::list("[]", "file: must be a mapping, not a list")]
#[case::scheduler_is_text("scheduler: x", "scheduler: must be a mapping, not a text")]
#[case::entry_no_mapping(
    "scheduler: {pluginConfig: [x], plugins: {Score: {enabled: [{name: random}]}}}",
    "scheduler.pluginConfig[0]: must be a mapping, not a text"
)]
#[case::name_no_scalar(
    "scheduler: {pluginConfig: [{name: [a]}], plugins: {Score: {enabled: [{name: random}]}}}",
    "scheduler.pluginConfig[0].name: must be a plugin's name, not a list"
)]
#[case::plugins_no_mapping(
    "scheduler: {plugins: []}",
    "scheduler.plugins: must be a mapping, not a list"
)]
#[case::filter_no_name(
    "scheduler: {plugins: {Filter: {enabled: [{}]}, Score: {enabled: [{name: random}]}}}",
    "scheduler.plugins.Filter.enabled[0]: must be a filter's name, not a mapping"
)]
#[case::score_is_text(
    "scheduler: {plugins: {Score: {enabled: [random]}}}",
    "scheduler.plugins.Score.enabled[0]: must be a mapping, not a text"
)]
#[case::weight_is_text(
    "scheduler: {plugins: {Score: {enabled: [{name: random, weight: heavy}]}}}",
    "scheduler.plugins.Score.enabled[0].weight: must be a number, not a text"
)]
fn faults_name_their_place(#[case] text: &str, #[case] wanted: &str) {
    let faults = faults(text);
    assert!(
        faults.lines().any(|line| line == wanted),
        "{wanted}\nis not in\n{faults}"
    );
}

#[test]
fn all_faults_are_listed_at_once() {
    let text = "
scheduler:
  pluginConfig:
  - name: least-latency
    args: {TTFTTPOTWeightFactor: 2}
  - name: least-request
    args: {maxWaitingRequests: -1}
  plugins:
    Filter: {enabled: [[]]}
    Score: {enabled: [{name: random, weight: true}]}
";
    let faults = faults(text);
    let paths: Vec<&str> = faults
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "scheduler.pluginConfig[0].args.TTFTTPOTWeightFactor",
            "scheduler.pluginConfig[1].args.maxWaitingRequests",
            "scheduler.plugins.Filter.enabled[0]",
            "scheduler.plugins.Score.enabled[0].weight",
        ]
    );
}

#[rstest]
#[case::no_plugins("scheduler: {}")]
#[case::no_score("scheduler: {plugins: {Filter: {enabled: [least-request]}}}")]
#[case::empty_list("scheduler: {plugins: {Score: {enabled: []}}}")]
#[case::only_unknown("scheduler: {plugins: {Score: {enabled: [{name: best, weight: 1}]}}}")]
#[case::only_disabled("scheduler: {plugins: {Score: {disabled: [{name: random}]}}}")]
fn what_would_route_nowhere_is_a_fault(#[case] text: &str) {
    let faults = faults(text);
    assert!(
        faults.starts_with("scheduler.plugins.Score: no score plugin"),
        "{faults}"
    );
}

#[rstest]
#[case::below("-0.1")]
#[case::above("1.5")]
#[case::not_a_number(".nan")]
#[case::infinite(".inf")]
#[case::infinitely_small("-.inf")]
#[case::text("half")]
fn bad_latency_weights(#[case] weight: &str) {
    let text = with_args(
        "least-latency",
        &format!("{{TTFTTPOTWeightFactor: {weight}}}"),
    );
    assert_eq!(
        faults(&text),
        "scheduler.pluginConfig[0].args.TTFTTPOTWeightFactor: must be a number from 0 to 1"
    );
}

#[rstest]
#[case::least("0", 0.0)]
#[case::middle("0.5", 0.5)]
#[case::most("1", 1.0)]
#[case::absent("null", 0.5)]
fn good_latency_weights(#[case] weight: &str, #[case] wanted: f64) {
    let text = with_args(
        "least-latency",
        &format!("{{TTFTTPOTWeightFactor: {weight}}}"),
    );
    let read = read(&text).config.args.least_latency;
    assert!((read.ttft_weight - wanted).abs() < f64::EPSILON);
}

#[rstest]
#[case::absent("[{name: gpu-usage}]", 0)]
#[case::null("[{name: gpu-usage, weight: null}]", 0)]
#[case::negative("[{name: gpu-usage, weight: -3}]", 0)]
#[case::real("[{name: gpu-usage, weight: 2.9}]", 2)]
#[case::huge("[{name: gpu-usage, weight: 18446744073709551615}]", i64::MAX)]
#[case::listed_twice("[{name: gpu-usage, weight: 1}, {name: gpu-usage, weight: 4}]", 4)]
fn weights(#[case] enabled: &str, #[case] wanted: i64) {
    let config = read(&scoring(enabled)).config;
    assert_eq!(config.scorers, [(ScorerName::GpuUsage, wanted)]);
}

#[rstest]
#[case::with_another("[{name: random, weight: 1}, {name: gpu-usage, weight: 1}]", &[ScorerName::GpuUsage])]
#[case::with_an_unknown("[{name: random, weight: 1}, {name: best, weight: 1}]", &[])]
#[case::alone("[{name: random, weight: 1}]", &[ScorerName::Random])]
#[case::absent("[{name: gpu-usage, weight: 1}]", &[ScorerName::GpuUsage])]
fn random_stands_alone(#[case] enabled: &str, #[case] wanted: &[ScorerName]) {
    let names = SchedulerConfig::read(&scoring(enabled)).map(|read| {
        let scorers = read.config.scorers.into_iter();
        scorers.map(|(name, _)| name).collect::<Vec<_>>()
    });
    assert_eq!(names.unwrap_or_default(), wanted);
}

#[test]
fn what_has_no_effect_is_said() {
    let text = "
extra: 1
scheduler:
  surprise: 1
  pluginConfig:
  - {name: unheard-of, args: {a: 1}, more: 1}
  - {name: gpu-usage, args: {unit: percent}}
  - {name: prefix-cache, args: {blockSizeToHash: 64, depth: 3, topKMatches: 0, maxBlocksToMatch: many}}
  - {name: prefix-cache, args: 7}
  - {name: kvcache-aware, args: {vllmTokenizerPort: 65536, sglangTokenizerPort: 0, countShortBlock: 1}}
  plugins:
    Filter: {enabled: [least-request, least-request, nobody], disabled: [lora-affinity]}
    Score: {enabled: [{name: gpu-usage, weight: -1, why: 1}, {name: best, weight: 1}], disabled: []}
    Bind: {}
";
    let paths: Vec<String> = notices(text)
        .iter()
        .map(|notice| notice.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        [
            "extra",
            "scheduler.surprise",
            "scheduler.pluginConfig[0].more",
            "scheduler.pluginConfig[0]",
            "scheduler.pluginConfig[1].args.unit",
            "scheduler.pluginConfig[2].args.maxBlocksToMatch",
            "scheduler.pluginConfig[2].args.topKMatches",
            "scheduler.pluginConfig[2].args.depth",
            "scheduler.pluginConfig[3]",
            "scheduler.pluginConfig[3].args",
            "scheduler.pluginConfig[4].args.countShortBlock",
            "scheduler.pluginConfig[4].args.vllmTokenizerPort",
            "scheduler.plugins.Filter.disabled",
            "scheduler.plugins.Filter.enabled[1]",
            "scheduler.plugins.Filter.enabled[2]",
            "scheduler.plugins.Bind",
            "scheduler.plugins.Score.enabled[0].weight",
            "scheduler.plugins.Score.enabled[0].why",
            "scheduler.plugins.Score.enabled[1].name",
            "scheduler.plugins.Score",
        ]
    );
}

#[test]
fn keys_of_args_match_in_any_case_and_the_last_plugin_of_a_name_counts() {
    let text = "
scheduler:
  pluginConfig:
  - {name: least-request, args: {maxWaitingRequests: 5}}
  - {name: least-request, args: {MAXWAITINGREQUESTS: 7}}
  plugins: {Score: {enabled: [{name: random}]}}
";
    assert_eq!(read(text).config.args.least_request.max_waiting.get(), 7);
}

#[rstest]
#[case::zero("0", 10)]
#[case::text("ten", 10)]
#[case::positive("1", 1)]
fn the_limit_of_waiting_requests(#[case] value: &str, #[case] wanted: u32) {
    let text = with_args("least-request", &format!("{{maxWaitingRequests: {value}}}"));
    let args = read(&text).config.args;
    assert_eq!(args.least_request.max_waiting.get(), wanted);
}

#[rstest]
#[case::unset("{}", None)]
#[case::zero("{vllmTokenizerPort: 0}", None)]
#[case::negative("{vllmTokenizerPort: -1}", None)]
#[case::least("{vllmTokenizerPort: 1}", Some(1))]
#[case::most("{vllmTokenizerPort: 65535}", Some(65535))]
#[case::beyond("{vllmTokenizerPort: 65536}", None)]
fn ports(#[case] args: &str, #[case] wanted: Option<u16>) {
    let config = read(&with_args("kvcache-aware", args)).config;
    assert_eq!(config.args.kvcache_aware.vllm_tokenizer_port, wanted);
}

#[test]
fn every_plugin_has_one_name() {
    let filters = FilterName::ALL.map(FilterName::as_str);
    assert_eq!(filters, ["least-request", "lora-affinity"]);
    let scorers = ScorerName::ALL.map(ScorerName::as_str);
    assert_eq!(
        scorers,
        [
            "least-request",
            "least-latency",
            "gpu-usage",
            "prefix-cache",
            "kvcache-aware",
            "random",
            "adaptive"
        ]
    );
}
