//! The one binary. A file per subcommand: parse, resolve, run, exit code.

mod bench;
mod cli;
mod controller_manager;
mod crds;
mod detach;
mod engine;
mod explain;
mod local;
mod router;
mod runtime;
mod verbs;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
