//! Child processes and what they cost.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::family::bytes;

/// A child that is stopped when this drops.
pub(crate) struct Process {
    child: Child,
    /// Also count these, as nginx works in children of its own.
    with_children: bool,
}

/// Length of a clock tick of `/proc/<pid>/stat` in microseconds.
pub(crate) const TICK_MICROS: f64 = 10_000.0;

impl Process {
    /// Starts this program again with other arguments.
    pub(crate) fn own(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        Self::start(Command::new(program).args(arguments), false)
    }

    pub(crate) fn start(command: &mut Command, with_children: bool) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self {
            child: child.with_context(|| format!("cannot start {name}"))?,
            with_children,
        })
    }

    fn pids(&self) -> Vec<u32> {
        let own = self.child.id();
        let mut pids = vec![own];
        if self.with_children {
            let children =
                fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        pids
    }

    /// CPU time used so far, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.pids().into_iter().map(ticks).sum::<f64>() * TICK_MICROS
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        self.pids().into_iter().map(resident).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's workers end with their master only if it is asked, not killed.
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let patience = Instant::now() + Duration::from_secs(2);
        while asked.is_ok() && Instant::now() < patience {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process in clock ticks.
pub(crate) fn ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum()
}

fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    bytes(&status, "VmRSS:")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens.
pub(crate) fn await_listener(address: SocketAddr) -> anyhow::Result<()> {
    let patience = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > patience {
            bail!("nobody listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
