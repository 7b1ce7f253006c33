//! `kthena bench prefill-decode`: what long prompts do to answers that are being generated.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use kthena_scheduling_sim::policy;
use kthena_scheduling_sim::setting::FleetConfig;
use kthena_scheduling_sim::split::{Layout, LongPrompts, Outcome, run as simulate};

/// Compare whole engines with prefill and decode apart, on as many simulated engines.
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = "\
Prints a table; time is virtual. A gain above 1 says that long prompts delay fewer tokens with the phases apart.

Examples:
  kthena bench prefill-decode
  kthena bench prefill-decode --engines 8 --prefill 3 --rate 12 --prompt 10000 --output 300
  kthena bench prefill-decode --gpu h100 --bandwidth 25e9")]
pub(crate) struct PrefillDecode {
    /// The engines' card
    #[arg(long, default_value = "a100")]
    gpu: String,
    /// The engines' model
    #[arg(long, default_value = "qwen2.5-7b")]
    model: String,
    /// Engines in all
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=1000))]
    engines: u32,
    /// Of those, engines that compute prompts
    #[arg(long, default_value_t = 2)]
    prefill: u32,
    /// Requests per second
    #[arg(long, default_value_t = 3.0)]
    rate: f64,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 6000)]
    prompt: u32,
    /// Tokens of an answer
    #[arg(long, default_value_t = 200)]
    output: u32,
    /// Bytes per second at which blocks move into an engine
    #[arg(long, default_value_t = 11.0e9)]
    bandwidth: f64,
}

pub(super) fn run(args: &PrefillDecode) -> Result<ExitCode> {
    anyhow::ensure!(
        (1..args.engines).contains(&args.prefill),
        "--prefill must leave at least one of {} engines for answers",
        args.engines
    );
    let fleet = FleetConfig::published(&args.gpu, &args.model)
        .with_context(|| format!("no card is known as {:?}", args.gpu))?;
    let fleet = FleetConfig {
        engines: args.engines,
        block_size: 16,
        ..fleet.with_usual_batches()
    };
    let load = LongPrompts {
        requests: 1000,
        rate: args.rate,
        prompt: args.prompt,
        output: args.output,
    };
    let all = policy::all(fleet.block_size);
    let policy = all.iter().find(|policy| policy.name == "least-request");
    let policy = policy.context("no policy")?;
    let measure = |layout| simulate(&fleet, policy, layout, load, args.bandwidth, 1);
    let whole = measure(Layout::Whole);
    let apart = measure(Layout::Apart {
        prefill: args.prefill,
    });
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} x {} with {}, {} requests/s, prompts of {} and answers of {} tokens, virtual time",
        args.engines, fleet.gpu.name, fleet.model.name, args.rate, args.prompt, args.output
    )?;
    writeln!(
        out,
        "{:<24}{:>16}{:>16}{:>14}{:>14}",
        "", "per token, ms", "p99, ms", "TTFT, s", "p99, s"
    )?;
    let apart_name = format!(
        "{} prefill, {} decode",
        args.prefill,
        args.engines - args.prefill
    );
    line(&mut out, "whole engines", whole)?;
    line(&mut out, &apart_name, apart)?;
    writeln!(
        out,
        "gain: {:.1} x at p99 between tokens",
        whole.token_p99 / apart.token_p99
    )?;
    Ok(ExitCode::SUCCESS)
}

fn line(out: &mut impl Write, name: &str, outcome: Outcome) -> std::io::Result<()> {
    writeln!(
        out,
        "{name:<24}{:>16.1}{:>16.1}{:>14.2}{:>14.2}",
        outcome.token_mean * 1e3,
        outcome.token_p99 * 1e3,
        outcome.first_mean,
        outcome.first_p99
    )
}
