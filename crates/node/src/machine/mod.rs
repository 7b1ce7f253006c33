//! What the machine has and who holds it: CPU, memory, GPUs, addresses.
//!
//! # Where to go next
//!
//! `request` compares what pods ask with what is there, `address` and `devices` hand out what only one pod may
//! have, `quantity` reads the numbers.

pub mod address;
pub mod devices;
pub mod quantity;
pub mod request;
#[cfg(test)]
mod tests;

use request::Amount;

/// CPU and memory of this machine; GPUs and pods are left at zero for the configuration to fill.
pub fn installed() -> Amount {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Amount {
        cpu_milli: i64::try_from(cpus).unwrap_or(1).saturating_mul(1000),
        memory: total_memory().unwrap_or(0),
        gpus: i64::from(devices::installed()),
        pods: 0,
    }
}

fn total_memory() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<i64>()
        .ok()?
        .checked_mul(1024)
}
