use kthena_kv_events::events::Layout;
use rstest::rstest;

use super::*;

fn read(line: &str) -> Result<(EngineConfig, Vec<ArgsWarning>), EngineArgsError> {
    let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    EngineConfig::from_engine_args(&args)
}

fn config(line: &str) -> EngineConfig {
    read(line).unwrap().0
}

#[rstest]
#[case::positional("vllm serve org/m-7b")]
#[case::path_of_program("/usr/bin/vllm serve org/m-7b")]
#[case::flag("--model org/m-7b")]
#[case::equals("--model=org/m-7b")]
#[case::module("python3 -m vllm.entrypoints.openai.api_server --model org/m-7b")]
#[case::after_other_flags("serve --port 8000 org/m-7b")]
#[case::bare("org/m-7b --trust-remote-code")]
fn the_model_is_found(#[case] line: &str) {
    let config = config(line);
    assert_eq!(config.model, "org/m-7b");
    assert_eq!(config.served_names, ["org/m-7b"]);
    assert_eq!(config.dialect, Dialect::Vllm);
}

#[test]
fn vllm_flags() {
    let config = config(
        "vllm serve m-8b --served-model-name a b --host 127.0.0.9 --port=9000 -tp 2 --max_model_len 4k \
         --max-num-seqs 32 --max-num-batched-tokens 1024 --block-size 32 --gpu-memory-utilization 0.8 \
         --enable-lora --max-loras 4 --lora-modules x=/x y=/y --api-key k --no-enable-prefix-caching \
         --sim-gpu l40s --sim-speed 10 --sim-startup 250ms --sim-seed 7",
    );
    assert_eq!(config.served_names, ["a", "b"]);
    assert_eq!(
        (config.host.to_string().as_str(), config.port),
        ("127.0.0.9", 9000)
    );
    assert_eq!(config.api_keys, ["k"]);
    let batch = &config.batch;
    assert_eq!(
        (batch.model.tensor_parallel, batch.model.gpu.name),
        (2, "l40s")
    );
    assert_eq!(
        (
            batch.max_model_len,
            batch.max_sequences,
            batch.max_batched_tokens
        ),
        (4000, 32, 1024)
    );
    assert_eq!(
        (batch.cache.block_size, batch.cache.prefix_caching),
        (32, false)
    );
    assert_eq!(batch.adapter_slots, 4);
    assert!(config.adapters_enabled);
    let names: Vec<&str> = config
        .adapters
        .iter()
        .map(|adapter| adapter.name.as_ref())
        .collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(
        (config.speed, config.startup),
        (10.0, Duration::from_millis(250))
    );
    assert_ne!(config.seed, 0);
}

#[test]
fn sglang_flags() {
    let config = config(
        "python3 -m sglang.launch_server --model-path org/q-14b --tp-size 4 --page-size 64 --context-length 2048 \
         --disaggregation-mode prefill --lora-paths a=/a --chunked-prefill-size 512 --disable-radix-cache",
    );
    assert_eq!(config.dialect, Dialect::Sglang);
    assert_eq!((config.port, config.role), (30_000, Role::Prefill));
    assert_eq!(
        (config.batch.cache.block_size, config.batch.max_model_len),
        (64, 2048)
    );
    assert!(!config.batch.cache.prefix_caching && config.adapters_enabled);
}

#[test]
fn json_forms() {
    let args: Vec<String> = [
        "m-7b",
        "--lora-modules",
        r#"{"name":"a","path":"/a","base_model_name":"b"}"#,
        "--kv-transfer-config",
        r#"{"kv_connector":"NixlConnector","kv_role":"kv_consumer"}"#,
        "--kv-events-config",
        r#"{"enable_kv_cache_events":true,"topic":"kv-events","replay_endpoint":"tcp://*:5558"}"#,
        "--sim-faults",
        r#"{"delay_ms":5}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    let (config, warnings) = EngineConfig::from_engine_args(&args).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.adapters[0].base.as_deref(), Some("b"));
    assert_eq!((config.role, config.faults.delay_ms), (Role::Decode, 5));
    let events = config.kv_events.unwrap();
    assert_eq!(events.endpoint, "tcp://*:5557");
    assert_eq!(events.replay_endpoint.as_deref(), Some("tcp://*:5558"));
    assert_eq!(
        (events.topic.as_str(), events.layout),
        ("kv-events", Layout::Maps)
    );
    assert!(config.batch.cache.record_events);
    assert_eq!(config.handover.load_failure, LoadFailure::Fail);
}

#[rstest]
#[case::vllm_must_be_told("vllm serve m", "{}", false)]
#[case::vllm_publishes_over_zmq("vllm serve m", r#"{"enable_kv_cache_events":true}"#, true)]
#[case::vllm_to_nobody(
    "vllm serve m",
    r#"{"enable_kv_cache_events":true,"publisher":"null"}"#,
    false
)]
#[case::sglang_must_be_told_how("sglang serve m", "{}", false)]
#[case::sglang_over_zmq("sglang serve m", r#"{"publisher":"zmq","hwm":10}"#, true)]
fn publishes_as_the_engine_would(#[case] line: &str, #[case] json: &str, #[case] expected: bool) {
    let mut args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    args.extend(["--kv-events-config".to_owned(), json.to_owned()]);
    let (config, _) = EngineConfig::from_engine_args(&args).unwrap();
    assert_eq!(config.kv_events.is_some(), expected);
    assert_eq!(config.batch.cache.record_events, expected);
}

#[rstest]
#[case::unknown_member(r#"{"enable":true}"#)]
#[case::unknown_publisher(r#"{"enable_kv_cache_events":true,"publisher":"kafka"}"#)]
#[case::not_an_object("[]")]
fn event_settings_nobody_has_are_faults(#[case] json: &str) {
    let args = ["vllm", "serve", "m", "--kv-events-config", json].map(str::to_owned);
    assert!(EngineConfig::from_engine_args(&args).is_err());
}

#[test]
fn unknown_flags_are_warnings_and_take_their_value_along() {
    let (config, warnings) = read("vllm serve m-7b --frobnicate yes --other --port 81").unwrap();
    assert_eq!((config.model.as_str(), config.port), ("m-7b", 81));
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].0.contains("--frobnicate"));
}

#[rstest]
#[case::bare("m-7b --enable-lora", true)]
#[case::separate("--enable-lora true --model m-7b", true)]
#[case::separate_false("--enable_lora False --model m-7b", false)]
#[case::inline("--enable-lora=false m-7b", false)]
#[case::negated("--no-enable-lora m-7b", false)]
fn switches(#[case] line: &str, #[case] expected: bool) {
    let config = config(line);
    assert_eq!(
        (config.adapters_enabled, config.model.as_str()),
        (expected, "m-7b")
    );
}

#[rstest]
#[case::long("--dialect sglang m-7b")]
#[case::short("--dialect sglang --model-path m-7b --host 127.64.0.7")]
fn the_dialect_can_be_named(#[case] line: &str) {
    assert_eq!(config(line).dialect, Dialect::Sglang);
}

#[test]
fn stages_of_a_pipeline_add_memory() {
    let (config, warnings) = read("llama-3.1-70b -tp 1 --pipeline-parallel-size 3").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.batch.model.pipeline_parallel, 3);
}

#[test]
fn all_faults_are_told_at_once() {
    let error =
        read("m-7b --port x --sim-gpu abacus --gpu-memory-utilization 3 --host nowhere --model")
            .unwrap_err();
    assert_eq!(error.faults.len(), 5, "{error}");
}

#[test]
fn a_model_that_does_not_fit_takes_more_gpus_and_says_so() {
    let (config, warnings) = read("llama-3.1-70b --sim-gpu l4").unwrap();
    assert!(config.batch.model.tensor_parallel >= 8);
    assert!(warnings[0].0.contains("does not fit"));
}

#[test]
fn the_context_is_limited_by_the_cache() {
    let (config, warnings) =
        read("m-7b --num-gpu-blocks-override 100 --max-model-len 8192").unwrap();
    assert_eq!(config.batch.max_model_len, 1600);
    assert_eq!(warnings.len(), 1);
}

#[rstest]
#[case::plain("1024", Some(1024))]
#[case::thousands("32k", Some(32_000))]
#[case::binary("32K", Some(32_768))]
#[case::fraction("1.5k", Some(1500))]
#[case::word("many", None)]
#[case::nothing("", None)]
fn counts(#[case] text: &str, #[case] expected: Option<u64>) {
    assert_eq!(values::count(text), expected);
}

#[rstest]
#[case::seconds("2s", Some(2000))]
#[case::bare("0.5", Some(500))]
#[case::millis("20ms", Some(20))]
#[case::minutes("1m", Some(60_000))]
#[case::negative("-1s", None)]
#[case::word("soon", None)]
fn durations(#[case] text: &str, #[case] expected: Option<u64>) {
    assert_eq!(values::duration(text), expected.map(Duration::from_millis));
}

#[rstest]
#[case::by_name("BAAI/bge-m3", Task::Embed)]
#[case::by_flag("m-7b --task embed", Task::Embed)]
#[case::neither("m-7b", Task::Generate)]
fn tasks(#[case] line: &str, #[case] expected: Task) {
    assert_eq!(config(line).task, expected);
}
