//! The whole engine, in virtual time, against public measurements of vLLM: closed loops of so many
//! clients, each sending its next request when the last is answered.
//!
//! - RTX A6000, Qwen2.5-7B, vLLM 0.23, about 51 tokens an answer and short prompts: the inference
//!   benchmark report of ld-singh.github.io/ai-factory-ops-lab (time per token 22.3, 27.5, 36.0 and
//!   53.1 ms at 8, 64, 128 and 256 clients). It does not give the prompts' length; 30 tokens here.
//! - A100 40 GB, Llama 3.1 8B, vLLM 0.23, prompts of 1,024 and answers of 128 tokens: the
//!   throughput-latency sweep of johnmusgrave.com (75 tokens/s for one client, 6.6 times that for 8).

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::model::{GpuProfile, ModelProfile};

/// What a run of requests came to.
#[derive(Debug)]
struct Measured {
    tokens_per_second: f64,
    /// Mean time between the tokens of a request, milliseconds.
    time_per_token: f64,
    /// Mean time to the first token, milliseconds.
    first_token: f64,
}

struct Workload {
    gpu: &'static str,
    model: &'static str,
    clients: u64,
    requests: u64,
    prompt: u32,
    output: u32,
}

fn engine(load: &Workload) -> Engine {
    let model = StepModel {
        gpu: GpuProfile::by_name(load.gpu).unwrap(),
        model: ModelProfile::by_name(load.model),
        tensor_parallel: 1,
        pipeline_parallel: 1,
    };
    Engine::new(BatchConfig {
        model,
        cache: CacheConfig {
            blocks: model.cache_blocks(0.9, 16, 2048) as u32,
            block_size: 16,
            prefix_caching: true,
            record_events: false,
        },
        max_sequences: 256,
        max_batched_tokens: 2048,
        max_model_len: 8192,
        adapter_slots: 1,
        adapter_load: Duration::ZERO,
    })
}

fn run(load: &Workload) -> Measured {
    let mut engine = engine(load);
    let mut sent = 0;
    let mut submit = |engine: &mut Engine, now: Duration| {
        if sent < load.requests {
            sent += 1;
            let new = NewRequest {
                id: sent,
                prompt: (0..load.prompt)
                    .map(|at| at + 10_000 * sent as u32)
                    .collect(),
                output: vec![7; load.output as usize],
                finish: FinishReason::Length,
                adapter: None,
                prefill: Prefill::Local,
                after: After::Free,
                arrived: now,
            };
            engine.submit(new).unwrap();
        }
    };
    let mut now = Duration::ZERO;
    for _ in 0..load.clients {
        submit(&mut engine, now);
    }
    let (mut tokens, mut first, mut gaps, mut gap_count) = (0, 0.0, 0.0, 0);
    while let Step::Ran(step) = engine.step(now) {
        now += step.duration;
        for new in &step.emitted {
            tokens += 1;
            if new.first {
                first += new.after.as_secs_f64();
            } else {
                gaps += new.after.as_secs_f64();
                gap_count += 1;
            }
        }
        for _ in &step.finished {
            submit(&mut engine, now);
        }
    }
    Measured {
        tokens_per_second: f64::from(tokens) / now.as_secs_f64(),
        time_per_token: gaps / f64::from(gap_count) * 1e3,
        first_token: first / load.requests as f64 * 1e3,
    }
}

fn a6000(clients: u64) -> Measured {
    run(&Workload {
        gpu: "a6000",
        model: "Qwen/Qwen2.5-7B-Instruct",
        clients,
        requests: clients * 4,
        prompt: 30,
        output: 51,
    })
}

fn near(what: &str, simulated: f64, measured: f64, tolerance: f64) {
    let off = simulated / measured - 1.0;
    assert!(
        off.abs() <= tolerance,
        "{what}: {simulated:.1} simulated, {measured} measured, {:.0} % off",
        off * 100.0
    );
}

#[rstest]
#[case::eight(8, 22.3, 0.10)]
#[case::sixty_four(64, 27.5, 0.15)]
#[case::hundred_and_twenty_eight(128, 36.0, 0.15)]
#[case::two_hundred_and_fifty_six(256, 53.1, 0.20)]
fn time_per_token_on_an_a6000(#[case] clients: u64, #[case] measured: f64, #[case] tolerance: f64) {
    let result = a6000(clients);
    near("ms per token", result.time_per_token, measured, tolerance);
}

#[rstest]
#[case::one(1, 75.0)]
#[case::eight(8, 75.0 * 6.6)]
fn tokens_per_second_on_an_a100(#[case] clients: u64, #[case] measured: f64) {
    let result = run(&Workload {
        gpu: "a100-40",
        model: "meta-llama/Llama-3.1-8B-Instruct",
        clients,
        requests: clients * 20,
        prompt: 1024,
        output: 128,
    });
    // The single figure is that of decoding alone; the first token is in ours.
    near("tokens/s", result.tokens_per_second, measured, 0.15);
}

#[test]
fn waiting_grows_past_the_knee() {
    let (light, heavy) = (a6000(8), a6000(512));
    assert!(heavy.first_token > 5.0 * light.first_token);
    assert!(heavy.tokens_per_second > 5.0 * light.tokens_per_second);
}
