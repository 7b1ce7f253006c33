//! Measures the router beside nginx: the same engines, the same load, one run, a ratio.
//!
//! The figure that counts is CPU time per request of the proxy's process; it is far steadier than throughput on a
//! machine that also runs the load and the engines. The program starts itself again as router and as engines, so that
//! each is a process of its own.

mod engine;
mod load;
mod nginx;
mod process;
mod report;
mod router;
mod scenario;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measures the router beside nginx.")]
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
    Router,
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
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match cli.command {
        Some(Command::Engine { listen }) => runtime.block_on(engine::serve(listen))?,
        Some(Command::Proxy {
            listen,
            engine_port,
            pods,
            routes,
            log,
        }) => {
            runtime.block_on(router::serve(listen, engine_port, pods, routes, log))?;
        }
        None | Some(Command::Router) => runtime.block_on(report::run(cli.scale))?,
    }
    Ok(ExitCode::SUCCESS)
}
