use rstest::rstest;

use super::*;

fn on(gpu: &str, model: &str, tensor_parallel: u32) -> StepModel {
    StepModel {
        gpu: GpuProfile::by_name(gpu).unwrap(),
        model: ModelProfile::by_name(model),
        tensor_parallel,
        pipeline_parallel: 1,
    }
}

fn decode(sequences: u64, context: u64) -> StepLoad {
    let mut load = StepLoad::default();
    (0..sequences).for_each(|_| load.add_decode(context));
    load
}

fn millis(step: std::time::Duration) -> f64 {
    step.as_secs_f64() * 1e3
}

/// Milliseconds per token at batch 1, measured by others.
///
/// - RTX A6000: vLLM 0.23, inference benchmark report of ld-singh.github.io/ai-factory-ops-lab.
/// - A100 40 GB: vLLM 0.23, 75 tokens/s, johnmusgrave.com, throughput-latency sweep.
/// - A100 80 GB: the Qwen2.5 speed benchmark at input length 1 (vLLM 0.6, whose fixed cost per step
///   was higher; hence the wider tolerance).
#[rstest]
#[case::qwen_7b_on_a6000("NVIDIA RTX A6000", "Qwen/Qwen2.5-7B-Instruct", 21.9, 0.05)]
#[case::llama_8b_on_a100_40("A100-SXM4-40GB", "meta-llama/Llama-3.1-8B-Instruct", 13.3, 0.05)]
#[case::qwen_7b_on_a100_80("A100-80GB", "Qwen/Qwen2.5-7B-Instruct", 11.87, 0.20)]
#[case::qwen_14b_on_a100_80("A100-80GB", "Qwen/Qwen2.5-14B-Instruct", 21.6, 0.15)]
#[case::qwen_32b_on_a100_80("A100-80GB", "Qwen/Qwen2.5-32B-Instruct", 45.2, 0.15)]
fn one_sequence_decodes_as_measured(
    #[case] gpu: &str,
    #[case] model: &str,
    #[case] measured: f64,
    #[case] tolerance: f64,
) {
    let simulated = millis(on(gpu, model, 1).step(&decode(1, 256)));
    let off = simulated / measured - 1.0;
    assert!(
        off.abs() <= tolerance,
        "{simulated:.2} ms for {measured} ms measured"
    );
}

#[test]
fn batching_is_nearly_free_until_arithmetic_limits() {
    let model = on("a6000", "qwen2.5-7b", 1);
    let (one, eight, many) = (
        model.step(&decode(1, 100)),
        model.step(&decode(8, 100)),
        model.step(&decode(256, 100)),
    );
    assert!(eight < one.mul_f64(1.05));
    assert!(many > one.mul_f64(1.8) && many < one.mul_f64(3.0));
}

#[test]
fn prompts_compete_with_decode_for_arithmetic() {
    let model = on("l40s", "qwen2.5-7b", 1);
    let alone = model.step(&decode(16, 500));
    let mut mixed = decode(16, 500);
    mixed.add_prompt(0, 4096);
    // 4,096 tokens of a 7B model are 58 TFLOP of products: a third of a second on 181 TFLOP/s.
    let added = millis(model.step(&mixed)) - millis(alone);
    assert!((250.0..450.0).contains(&added), "{added} ms");
}

#[test]
fn a_cached_prefix_saves_its_products_but_not_the_look_back() {
    let model = on("h100", "llama-3.1-8b", 1);
    let (mut cold, mut warm) = (StepLoad::default(), StepLoad::default());
    cold.add_prompt(0, 8192);
    warm.add_prompt(8064, 128);
    assert!(model.step(&warm).mul_f64(8.0) < model.step(&cold));
    assert!(warm.prompt_attention > 128.0 * 8064.0);
}

#[test]
fn splitting_helps_large_models_less_than_in_proportion() {
    let load = decode(8, 1000);
    let two = on("h100", "llama-3.1-70b", 2).step(&load);
    let four = on("h100", "llama-3.1-70b", 4).step(&load);
    assert!(four < two && four.mul_f64(2.0) > two);
}

#[test]
fn a_mixture_reads_more_experts_as_the_batch_grows() {
    let model = ModelProfile::by_name("Qwen/Qwen3-30B-A3B");
    assert!(model.bytes_read(1.0) < 0.15 * model.weight_bytes());
    assert!(model.bytes_read(256.0) > 0.9 * model.weight_bytes());
    assert!(model.bytes_read(8.0) < model.bytes_read(16.0));
}

/// vLLM prints its number of blocks; a 16-bit 8B model on 80 GB gets about 27,800 blocks of 16.
#[rstest]
#[case::llama_8b_on_80("a100-80", "llama-3.1-8b", 1, 26_000, 29_500)]
#[case::weights_do_not_fit("l4", "llama-3.1-70b", 1, 0, 0)]
#[case::weights_fit_split("a100-80", "llama-3.1-70b", 4, 20_000, 30_000)]
fn blocks(
    #[case] gpu: &str,
    #[case] model: &str,
    #[case] gpus: u32,
    #[case] least: u64,
    #[case] most: u64,
) {
    let blocks = on(gpu, model, gpus).cache_blocks(0.9, 16, 2048);
    assert!((least..=most).contains(&blocks), "{blocks} blocks");
}

/// vLLM 0.8.5 on a 32 GB card: 4.35 GiB for steps of 32,768 tokens of Qwen2.5-7B.
#[test]
fn long_steps_take_memory_from_the_cache() {
    let profile = ModelProfile::by_name("Qwen2.5-7B-Instruct");
    let gib = profile.activation_bytes_per_token() * 32_768.0 / f64::from(1 << 30);
    assert!((4.2..4.5).contains(&gib), "{gib} GiB");
    let model = on("a6000", "qwen2.5-7b", 1);
    let lost = model.cache_bytes(0.9, 2048) - model.cache_bytes(0.9, 65_536);
    assert!((8.0e9..9.5e9).contains(&(lost as f64)), "{lost} bytes");
}

#[rstest]
#[case::plain("a100", "a100")]
#[case::marketing("NVIDIA A100-SXM4-40GB", "a100-40")]
#[case::eighty("NVIDIA A100 80GB PCIe", "a100")]
#[case::ada("NVIDIA L40S", "l40s")]
#[case::consumer("GeForce RTX 4090", "4090")]
#[case::l4("NVIDIA-L4", "l4")]
#[case::hopper("NVIDIA_H100_PCIe", "h100-pcie")]
fn gpu_names(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(GpuProfile::by_name(name).unwrap().name, expected);
}

#[test]
fn unknown_gpu_is_none() {
    assert_eq!(GpuProfile::by_name("abacus"), None);
    assert_eq!(GpuProfile::default().name, "a100");
}

#[rstest]
#[case::qwen_small("Qwen/Qwen2.5-1.5B-Instruct", "qwen-1.5b")]
#[case::qwen_tiny("Qwen2.5-0.5B", "qwen-0.5b")]
#[case::qwen_not_confused_by_version("Qwen/Qwen2.5-7B-Instruct-AWQ", "qwen-7b")]
#[case::llama("meta-llama/Llama-3.1-8B-Instruct", "llama-8b")]
#[case::llama2("meta-llama/Llama-2-7b-chat-hf", "llama2-7b")]
#[case::llama70("llama-3.3-70b", "llama-70b")]
#[case::distilled("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen-7b")]
#[case::deepseek("deepseek-ai/DeepSeek-R1", "deepseek-v3")]
#[case::deepseek_lite("deepseek-ai/DeepSeek-V2-Lite", "deepseek-lite")]
#[case::mixture("Qwen/Qwen3-30B-A3B", "qwen-30b-a3b")]
#[case::mixtral("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b")]
#[case::qwen3("Qwen/Qwen3-8B", "qwen-8b")]
#[case::thirty_eight_is_not_eight("Qwen/Some-38B", "qwen-32b")]
#[case::nothing_known("my-model", "qwen-7b")]
#[case::not_a_size("größeb", "qwen-7b")]
fn model_names(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(ModelProfile::by_name(name).name, expected);
}

#[test]
fn names_tell_precision() {
    assert_eq!(
        ModelProfile::by_name("x-7b-awq").precision,
        Precision::Nibble
    );
    assert_eq!(ModelProfile::by_name("x-7b-FP8").precision, Precision::Byte);
    assert_eq!(ModelProfile::by_name("x-7b").precision, Precision::Half);
}

#[test]
fn moving_a_cached_prompt_costs_its_bytes() {
    // 8,000 tokens of 128 KiB each are a gigabyte.
    let model = on("h100", "llama-3.1-8b", 1);
    let seconds = model.transfer(8000, 50e9).as_secs_f64();
    assert!((0.018..0.024).contains(&seconds));
}
