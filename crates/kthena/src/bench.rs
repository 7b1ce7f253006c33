//! `kthena bench`: compares scheduling policies, and layouts of a fleet, on simulated engines.
//!
//! # Where to go next
//!
//! `scheduling` for what can be asked for, `virtual_time` and `wall_clock` for the two ways to run it.

mod files;
mod load;
mod prefill_decode;
mod progress;
mod scheduling;
mod virtual_time;
mod wall_clock;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// Measure.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  kthena bench scheduling --virtual-time --out results
  kthena bench scheduling --workload long --policy random --policy adaptive --out results
  kthena bench prefill-decode")]
pub(crate) enum Command {
    /// Compare scheduling policies on simulated engines.
    Scheduling(Box<scheduling::Scheduling>),
    /// Compare whole engines with prefill and decode apart, on as many simulated engines.
    PrefillDecode(prefill_decode::PrefillDecode),
}

/// Runs what was asked for.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Scheduling(args) => scheduling::run(args),
        Command::PrefillDecode(args) => prefill_decode::run(args),
    }
}
