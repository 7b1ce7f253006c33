//! Measures the router beside its peers, and local mode with few and with many pods.
//!
//! `report` is the router: the same engines, the same load, one run, a ratio. The figure that counts there is CPU time
//! per request of the proxy's process; it is far steadier than throughput on a machine that also runs the load and the
//! engines. The program starts itself again as router and as engines, so that each is a process of its own.
//!
//! `local` is local mode: the released program in a state folder of its own, seen from outside.

mod engine;
mod family;
mod index;
mod load;
mod local;
mod nginx;
mod process;
mod proxies;
mod report;
mod router;
mod scenario;
mod scheduling;
mod scrapes;
mod soak;
mod table;
mod tokens;
mod up;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::local::LocalBench;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(about = "Measures the router beside its peers, and local mode.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Multiplies the number of requests of each scenario.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the router (the default).
    Router {
        /// Only CPU time per request, of the router and nginx: a minute instead of ten.
        #[arg(long)]
        costs_only: bool,
    },
    /// Measure local mode: time to the first token, memory, CPU at rest, many pods.
    Local {
        /// The program, built with --release.
        #[arg(long)]
        kthena: PathBuf,
        /// Manifests of the model whose first token counts.
        #[arg(long, default_value = "examples/quickstart")]
        quickstart: PathBuf,
        /// How many pods are many.
        #[arg(long, default_value_t = 200)]
        pods: u32,
        /// Add the figures to this file, as a line of JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measure what one decision of the scheduler costs, one question to the index of cache events, and the tokens of a
    /// prompt.
    Scheduling {
        /// A model's folder with tokenizer.json and template; without it a small model of this repository is taken.
        #[arg(long)]
        tokenizer: Option<PathBuf>,
    },
    /// Measure what it costs the router to ask many engines for their state.
    Scrapes {
        /// How many engines.
        #[arg(long, default_value_t = 1000)]
        pods: u32,
        /// How long to measure.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Send prompts that never repeat and watch that memory stays inside its budgets.
    Soak {
        /// How long; ten minutes are a test.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Be an engine: the fastest answers there are.
    #[command(hide = true)]
    Engine {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Be the router, in front of engines on `127.0.0.1` and up.
    #[command(hide = true)]
    Proxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        engine_port: u16,
        #[arg(long, default_value_t = 3)]
        pods: u32,
        #[arg(long, default_value_t = 1)]
        routes: u32,
        #[arg(long)]
        log: PathBuf,
        /// Ask the engines for their state.
        #[arg(long)]
        scrape: bool,
        /// The text of a configuration file.
        #[arg(long, default_value = "")]
        configuration: String,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // What a command started ends as the command's future is dropped, whatever ends it.
        tokio::select! {
            outcome = run(cli) => match outcome {
                // Whoever read the figures has seen enough.
                Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
                outcome => outcome.map(|()| ExitCode::SUCCESS),
            },
            _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED.into()),
            _ = terminate.recv() => Ok(INTERRUPTED.into()),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Some(Command::Engine { listen }) => engine::serve(listen).await,
        Some(Command::Proxy {
            listen,
            engine_port,
            pods,
            routes,
            log,
            scrape,
            configuration,
        }) => {
            let fleet = router::Fleet {
                engine_port,
                pods,
                routes,
                scrape,
                configuration,
            };
            router::serve(listen, fleet, log).await
        }
        Some(Command::Local {
            kthena,
            quickstart,
            pods,
            json,
        }) => {
            let bench = LocalBench {
                kthena: &kthena,
                quickstart: &quickstart,
                pods,
                json: json.as_deref(),
            };
            local::run(&bench).await
        }
        Some(Command::Scheduling { tokenizer }) => {
            scheduling::run()?;
            index::run()?;
            tokens::run(tokenizer.as_deref())
        }
        Some(Command::Scrapes { pods, seconds }) => scrapes::run(pods, seconds).await,
        Some(Command::Soak { seconds }) => soak::run(seconds).await,
        Some(Command::Router { costs_only }) => report::run(cli.scale, costs_only).await,
        None => report::run(cli.scale, false).await,
    }
}
