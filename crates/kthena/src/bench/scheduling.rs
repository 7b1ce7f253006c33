//! `kthena bench scheduling`: which policies, under which load, on which engines.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args as ClapArgs, ValueEnum};
use kthena_scheduling_sim::policy::{self, Policy};
use kthena_scheduling_sim::setting::{FleetConfig, Knowledge};
use kthena_scheduling_sim::trace;
use kthena_scheduling_sim::workload::{self, Scale, Workload};

use super::progress::say;
use super::{files, virtual_time, wall_clock};

/// Compare scheduling policies on simulated engines.
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = "\
The published experiment: 256 groups of 32 requests that share a long or a short system prompt, 300 at a time, on three
engines with one 48 GB card each. Six configurations and `adaptive`.

With --virtual-time the shipped scheduler is linked to the engines' model and an hour takes a second. Without, engines
are processes, the router is the real one, and time passes: fewer requests unless --groups and so on say otherwise.

Workloads: long, short, chats (several turns), adapters (LoRA), mixed (lengths of all kinds, open load), fairness (one
greedy and many small users behind the fair queue; virtual time only).
Policies: least-request+kvcache-aware, least-request+prefix-cache, random, least-request, gpu-usage, least-latency,
adaptive.

Examples:
  kthena bench scheduling --virtual-time --out results
  kthena bench scheduling --virtual-time --workload chats --workload mixed --seeds 1 --out results
  kthena bench scheduling --virtual-time --workload long --routers 3 --out results
  kthena bench scheduling --virtual-time --trace access.log --out results
  kthena bench scheduling --groups 16 --requests-per-group 6 --concurrency 24 --policy adaptive --out results")]
pub(crate) struct Scheduling {
    /// Let time pass as fast as it can be computed
    #[arg(long)]
    pub(super) virtual_time: bool,
    /// Runs of each policy, each with other chances [default: 3, or 1 by the wall clock]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// A workload; may be given several times [default: long and short]
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// A policy; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Replay a router's access log instead, JSON or text
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    trace: Option<PathBuf>,
    /// Groups that share a system prompt, in long and short [default: 256, or 16 by the wall clock]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    groups: Option<u32>,
    /// Requests of each group [default: 32, or 6 by the wall clock]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests_per_group: Option<u32>,
    /// Requests at a time [default: 300, or 24 by the wall clock]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Option<u32>,
    /// Tokens of each answer in long and short
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    output_tokens: u32,
    /// What the router of the six configurations knows; `adaptive` always goes by today's [default: published for long and
    /// short in virtual time, else today]
    #[arg(long, value_enum)]
    knowledge: Option<Known>,
    /// Routers before the engines, none of which knows of the others; virtual time only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    routers: u32,
    /// The engines' card
    #[arg(long, default_value = "a6000")]
    gpu: String,
    /// The engines' model
    #[arg(long, default_value = "qwen2.5-7b")]
    model: String,
    /// Engines
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=200))]
    engines: u32,
    /// Most tokens of an engine's step; the article ran 65536, 2048 is what vLLM does unasked on such a card
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(256..=1_000_000))]
    max_num_batched_tokens: u32,
    /// Share of the card's memory that an engine uses
    #[arg(long, default_value_t = 0.9)]
    gpu_memory_utilization: f64,
    /// Folder for report.md, report.json and plots
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
}

/// What a router goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    /// Its own requests as it sends them
    Today,
    /// Counts of the last scrape, prefixes of complete answers: the router of the article
    Published,
}

/// One run.
pub(super) struct Task {
    pub(super) fleet: FleetConfig,
    pub(super) policy: Policy,
    /// Which of the workloads.
    pub(super) workload: usize,
    pub(super) seed: u64,
}

/// All runs.
pub(super) struct Plan {
    pub(super) fleet: FleetConfig,
    pub(super) workloads: Vec<Workload>,
    pub(super) tasks: Vec<Task>,
    pub(super) seeds: u64,
}

pub(super) fn run(args: &Scheduling) -> Result<ExitCode> {
    let begun = Instant::now();
    let plan = plan(args)?;
    let outcome = if args.virtual_time {
        virtual_time::run(&plan)
    } else {
        wall_clock::run(&plan)?
    };
    files::write(args, &plan, &outcome)?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "{} runs in {seconds:.0} s, see {}\n",
        plan.tasks.len(),
        args.out.join("report.md").display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Scheduling) -> Result<Plan> {
    ensure!(
        args.virtual_time || args.routers == 1,
        "--routers needs --virtual-time"
    );
    ensure!(
        args.gpu_memory_utilization > 0.0 && args.gpu_memory_utilization <= 1.0,
        "--gpu-memory-utilization is a share above 0 and at most 1"
    );
    let fleet = FleetConfig::published(&args.gpu, &args.model)
        .with_context(|| format!("no card is known as {:?}", args.gpu))?;
    let fleet = FleetConfig {
        engines: args.engines,
        routers: args.routers,
        max_batched_tokens: args.max_num_batched_tokens,
        memory_utilization: args.gpu_memory_utilization,
        ..fleet
    };
    let policies = policies(args, fleet.block_size)?;
    let seeds = args.seeds.unwrap_or(if args.virtual_time { 3 } else { 1 });
    let mut workloads = Vec::new();
    let mut tasks = Vec::new();
    for (seed, workload) in all_workloads(args, seeds)? {
        for policy in &policies {
            tasks.push(Task {
                fleet: FleetConfig {
                    knowledge: knowledge(args, &workload),
                    ..fleet.clone()
                },
                policy: policy.clone(),
                workload: workloads.len(),
                seed,
            });
        }
        workloads.push(workload);
    }
    Ok(Plan {
        fleet,
        workloads,
        tasks,
        seeds,
    })
}

fn knowledge(args: &Scheduling, workload: &Workload) -> Knowledge {
    let of_the_article = args.virtual_time && ["long", "short"].contains(&workload.name.as_str());
    match args.knowledge {
        Some(Known::Published) => Knowledge::Published,
        None if of_the_article => Knowledge::Published,
        Some(Known::Today) | None => Knowledge::Today,
    }
}

fn policies(args: &Scheduling, block_size: u32) -> Result<Vec<Policy>> {
    let all = policy::all(block_size);
    for name in &args.policy {
        if !all.iter().any(|policy| policy.name == *name) {
            let known: Vec<&str> = all.iter().map(|policy| policy.name.as_str()).collect();
            bail!("policy {name:?} is none of {}", known.join(", "));
        }
    }
    let wanted = |policy: &Policy| args.policy.is_empty() || args.policy.contains(&policy.name);
    Ok(all.into_iter().filter(wanted).collect())
}

/// The workloads, each once for every seed.
fn all_workloads(args: &Scheduling, seeds: u64) -> Result<Vec<(u64, Workload)>> {
    let seeds = args.first_seed..args.first_seed + seeds;
    if let Some(file) = &args.trace {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let workload =
            trace::read(&text, seconds_of).with_context(|| file.display().to_string())?;
        return Ok(seeds.map(|seed| (seed, workload.clone())).collect());
    }
    let mut names: Vec<&str> = args.workload.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = vec!["long", "short"];
    }
    let scale = scale(args);
    let mut workloads = Vec::new();
    for name in names {
        for seed in seeds.clone() {
            let known = workload::NAMES.join(", ");
            let workload = workload::by_name(name, seed, scale, Instant::now())
                .with_context(|| format!("workload {name:?} is none of {known}"))?;
            ensure!(
                args.virtual_time || workload.queue.is_none(),
                "the workload {name} needs --virtual-time"
            );
            workloads.push((seed, workload));
        }
    }
    Ok(workloads)
}

fn scale(args: &Scheduling) -> Scale {
    let usual = if args.virtual_time {
        Scale::PUBLISHED
    } else {
        Scale::MINUTES
    };
    Scale {
        groups: args.groups.unwrap_or(usual.groups),
        per_group: args.requests_per_group.unwrap_or(usual.per_group),
        concurrency: args
            .concurrency
            .map_or(usual.concurrency, |places| places as usize),
        output: args.output_tokens,
    }
}

/// Seconds since 1970 of an RFC 3339 time.
fn seconds_of(text: &str) -> Option<f64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

#[cfg(test)]
mod tests;
