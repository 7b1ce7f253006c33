//! `kthena bench`: compares scheduling policies, and layouts of a fleet, on simulated engines.
//!
//! Runs are independent and share nothing, so each core takes the next one until none is left.

mod prefill_decode;

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, Subcommand};
use kthena_scheduling_sim::policy::{self, Policy};
use kthena_scheduling_sim::report;
use kthena_scheduling_sim::run::{FleetConfig, Row, run as simulate};
use kthena_scheduling_sim::trace;
use kthena_scheduling_sim::workload::{self, Workload};

/// Measure.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kthena bench scheduling --virtual-time --out results
  kthena bench prefill-decode")]
pub(crate) enum Command {
    /// Compare scheduling policies on simulated engines.
    Scheduling(Scheduling),
    /// Compare whole engines with prefill and decode apart, on as many simulated engines.
    PrefillDecode(prefill_decode::PrefillDecode),
}

/// Compare scheduling policies on simulated engines.
#[derive(Debug, Clone, ClapArgs)]
#[command(after_help = "\
The published experiment: 256 groups of 32 requests that share a long or a short system prompt, 300
at a time, on three engines with one 48 GB card each. Six configurations and `adaptive`.
Other workloads are chats of several turns and adapters. Runs are in virtual time only:
--virtual-time must be given, since a run by the wall clock is not built.

Examples:
  kthena bench scheduling --virtual-time --out results
  kthena bench scheduling --virtual-time --workload chats --seeds 1 --out results
  kthena bench scheduling --virtual-time --trace access.log --out results")]
pub(crate) struct Scheduling {
    /// Let time pass as fast as it can be computed; required, for there is no other way yet
    #[arg(long)]
    virtual_time: bool,
    /// Runs of each policy, each with other chances
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// long, short, chats or adapters; may be given several times [default: long and short]
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Replay a router's access log of JSON lines instead
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    trace: Option<PathBuf>,
    /// The engines' card
    #[arg(long, default_value = "a6000")]
    gpu: String,
    /// The engines' model
    #[arg(long, default_value = "qwen2.5-7b")]
    model: String,
    /// Engines
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    engines: u32,
    /// Folder for report.md, report.json and plots
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// One run.
struct Task {
    policy: Policy,
    workload: usize,
    seed: u64,
}

/// Runs what was asked for.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Scheduling(args) => scheduling(args),
        Command::PrefillDecode(args) => prefill_decode::run(args),
    }
}

fn scheduling(args: &Scheduling) -> Result<ExitCode> {
    if !args.virtual_time {
        bail!("a run by the wall clock is not built; give --virtual-time");
    }
    let begun = Instant::now();
    let fleet = FleetConfig::published(&args.gpu, &args.model)
        .with_context(|| format!("no card is known as {:?}", args.gpu))?;
    let fleet = FleetConfig {
        engines: args.engines,
        ..fleet
    };
    let workloads = workloads(args)?;
    let rows = compare(&fleet, &workloads);
    write(args, &fleet, &workloads, &rows)?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "{} runs in {seconds:.0} s, see {}\n",
        rows.len(),
        args.out.join("report.md").display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The workloads, each once for every seed.
fn workloads(args: &Scheduling) -> Result<Vec<(u64, Workload)>> {
    if let Some(file) = &args.trace {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let workload =
            trace::read(&text, seconds_of).with_context(|| file.display().to_string())?;
        return Ok((1..=args.seeds)
            .map(|seed| (seed, workload.clone()))
            .collect());
    }
    let mut names: Vec<&str> = args.workload.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = vec!["long", "short"];
    }
    let mut workloads = Vec::new();
    for name in names {
        for seed in 1..=args.seeds {
            let known = workload::NAMES.join(", ");
            let workload = workload::by_name(name, seed)
                .with_context(|| format!("workload {name:?} is none of {known}"))?;
            workloads.push((seed, workload));
        }
    }
    Ok(workloads)
}

/// Seconds since 1970 of an RFC 3339 time.
fn seconds_of(text: &str) -> Option<f64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

/// All runs, in the order of workloads and policies.
fn compare(fleet: &FleetConfig, workloads: &[(u64, Workload)]) -> Vec<Row> {
    let mut tasks = Vec::new();
    for (workload, (seed, _)) in workloads.iter().enumerate() {
        for policy in policy::all(fleet.block_size) {
            tasks.push(Task {
                policy,
                workload,
                seed: *seed,
            });
        }
    }
    let progress = Progress::new(tasks.len());
    let order = Mutex::new(tasks.iter().enumerate());
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::default();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers.min(tasks.len()) {
            scope.spawn(|| {
                loop {
                    let next = order.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, task)) = next else { return };
                    let workload = &workloads[task.workload].1;
                    let mut share = 0.0;
                    let row = simulate(fleet, &task.policy, workload, task.seed, &mut |done| {
                        progress.add(done - share);
                        share = done;
                    });
                    progress.add(1.0 - share);
                    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                    rows.push((at, row));
                }
            });
        }
    });
    progress.finish();
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Seeds side by side, whoever was first.
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn write(
    args: &Scheduling,
    fleet: &FleetConfig,
    workloads: &[(u64, Workload)],
    rows: &[Row],
) -> Result<()> {
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let about: BTreeMap<String, String> = workloads
        .iter()
        .map(|(_, workload)| (workload.name.clone(), workload.about.clone()))
        .collect();
    let setting = format!(
        "{} simulated engines in virtual time, each {} on one {}, cache blocks of {} tokens; {} seeds, \
         ± is half the distance between the lowest and the highest.",
        fleet.engines, fleet.model.name, fleet.gpu.name, fleet.block_size, args.seeds
    );
    save(out, "report.json", &report::json(rows)?)?;
    save(out, "report.md", &report::markdown(rows, &about, &setting))?;
    for (workload, summaries) in report::summaries(rows) {
        let throughput: Vec<_> = summaries
            .iter()
            .map(|summary| (summary.policy.as_str(), summary.throughput))
            .collect();
        let title = format!("{workload}: requests per second");
        let plot = report::bars(&title, "req/s", &throughput);
        save(out, &format!("{workload}-throughput.svg"), &plot)?;
        let first: Vec<_> = summaries
            .iter()
            .map(|summary| (summary.policy.as_str(), summary.first_token))
            .collect();
        let title = format!("{workload}: seconds to the first token");
        let plot = report::bars(&title, "s", &first);
        save(out, &format!("{workload}-ttft.svg"), &plot)?;
    }
    Ok(())
}

fn save(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

fn say(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A bar on the terminal; nothing where there is none.
struct Progress {
    total: f64,
    done: Mutex<f64>,
    shown: bool,
}

impl Progress {
    fn new(tasks: usize) -> Self {
        let total = u32::try_from(tasks).map_or(f64::INFINITY, f64::from);
        Self {
            total,
            done: Mutex::new(0.0),
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// Adds a share of one task.
    fn add(&self, share: f64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += share;
        if self.shown {
            let percent = (*done / self.total * 100.0).min(100.0);
            let filled = "#".repeat((0..40).filter(|at| f64::from(*at) * 2.5 < percent).count());
            say(&format!("\r[{filled:<40}] {percent:3.0} %"));
        }
    }

    fn finish(&self) {
        if self.shown {
            say("\r\x1b[K");
        }
    }
}
