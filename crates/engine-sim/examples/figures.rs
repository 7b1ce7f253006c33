//! Prints what the timing model says: `cargo run --example figures`. One line per GPU, model and
//! number of clients in a closed loop, in virtual time.

use std::io::{self, Write};
use std::time::Duration;

use kthena_engine_sim::batch::{
    After, BatchConfig, Engine, FinishReason, NewRequest, Prefill, Step, SubmitError,
};
use kthena_engine_sim::kv_cache::CacheConfig;
use kthena_engine_sim::model::{GpuProfile, ModelProfile, StepModel};

const PROMPT: u32 = 512;
const OUTPUT: u32 = 128;
const ROUNDS: u32 = 4;

fn engine(gpu: GpuProfile, model: ModelProfile) -> Engine {
    let model = StepModel {
        gpu,
        model,
        tensor_parallel: 1,
        pipeline_parallel: 1,
    };
    let blocks = u32::try_from(model.cache_blocks(0.92, 16, 2048)).unwrap_or(u32::MAX);
    Engine::new(BatchConfig {
        model,
        cache: CacheConfig {
            blocks,
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

fn request(number: u32, now: Duration) -> NewRequest {
    NewRequest {
        id: number.into(),
        prompt: (0..PROMPT).map(|at| at + 10_000 * number).collect(),
        output: vec![7; OUTPUT as usize],
        finish: FinishReason::Length,
        adapter: None,
        prefill: Prefill::Local,
        after: After::Free,
        arrived: now,
    }
}

/// Tokens a second, and milliseconds to the first and between further tokens.
fn measure(mut engine: Engine, clients: u32) -> Result<(f64, f64, f64), SubmitError> {
    let mut now = Duration::ZERO;
    let mut sent = 0;
    while sent < clients {
        sent += 1;
        engine.submit(request(sent, now))?;
    }
    let (mut first, mut gaps) = (Duration::ZERO, Duration::ZERO);
    while let Step::Ran(step) = engine.step(now) {
        now += step.duration;
        for new in &step.emitted {
            *if new.first { &mut first } else { &mut gaps } += new.after;
        }
        for _ in &step.finished {
            if sent < clients * ROUNDS {
                sent += 1;
                engine.submit(request(sent, now))?;
            }
        }
    }
    let requests = f64::from(sent);
    let tokens = requests * f64::from(OUTPUT);
    let millis = |time: Duration, count: f64| time.as_secs_f64() * 1e3 / count;
    Ok((
        tokens / now.as_secs_f64(),
        millis(first, requests),
        millis(gaps, tokens - requests),
    ))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "prompts of {PROMPT} tokens without a common prefix, answers of {OUTPUT}"
    )?;
    for (gpu, model) in [
        ("a6000", "qwen2.5-7b"),
        ("l40s", "qwen2.5-7b"),
        ("a100", "llama-3.1-8b"),
        ("h100", "llama-3.1-8b"),
    ] {
        let profile = GpuProfile::by_name(gpu).ok_or("no such GPU")?;
        for clients in [1, 8, 32, 128, 256] {
            let engine = engine(profile, ModelProfile::by_name(model));
            let (rate, first, gap) = measure(engine, clients)?;
            writeln!(
                out,
                "{gpu:6} {model:12} {clients:4} clients: {rate:7.1} tokens/s, first token {first:7.1} ms, \
                 then {gap:6.1} ms"
            )?;
        }
    }
    Ok(())
}
