//! The controller in a process of its own: what runs there, and how it is started, asked and killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use kthena_cluster::{ClientConfig, connect};
use kthena_controllers_driver::{DriverConfig, Metrics, WriteLabel, run};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::AnyError;

/// What a controller has done since it was started.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pods: u64,
    pub(crate) services: u64,
    pub(crate) revisions: u64,
    pub(crate) statuses: u64,
    pub(crate) turns: u64,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds of CPU.
    pub(crate) cpu: f64,
    /// Kilobytes of memory now, and at most.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Counts {
    fn of(metrics: &Metrics) -> Self {
        Self {
            pods: metrics.writes(WriteLabel::pod),
            services: metrics.writes(WriteLabel::service),
            revisions: metrics.writes(WriteLabel::revision),
            statuses: metrics.writes(WriteLabel::status),
            turns: metrics.turns(),
        }
    }

    pub(crate) fn writes(&self) -> u64 {
        self.pods + self.services + self.revisions + self.statuses
    }
}

/// What runs in the measured process: the controller with default settings. For each line on standard input it
/// writes what it has done so far.
pub(crate) async fn controller(kubeconfig: PathBuf) -> Result<(), AnyError> {
    let client = connect(&ClientConfig {
        kubeconfig: Some(kubeconfig),
        ..ClientConfig::default()
    })
    .await?;
    let config = DriverConfig::default();
    let metrics = config.metrics.clone();
    let shutdown = CancellationToken::new();
    tokio::spawn(run(client, config, shutdown));
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tokio::io::stdin()));
    while lines.next_line().await?.is_some() {
        println!("{}", serde_json::to_string(&Counts::of(&metrics))?);
    }
    Ok(())
}

/// A running controller; it is killed when it goes out of scope.
pub(crate) struct Controller {
    child: Child,
    answers: Option<BufReader<ChildStdout>>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// Starts one that can be asked.
    pub(crate) fn start(kubeconfig: &Path) -> Result<Self, AnyError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("controller")
            .arg(kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = child.stdout.take().map(BufReader::new);
        Ok(Self { child, answers })
    }

    /// Starts the shipped program if `KTHENA_BIN` says where it is, else one as above.
    pub(crate) fn start_shipped(kubeconfig: &Path) -> Result<Self, AnyError> {
        let Some(program) = std::env::var_os("KTHENA_BIN") else {
            return Self::start(kubeconfig);
        };
        let child = Command::new(program)
            .args([
                "controller-manager",
                "--enable-webhook=false",
                "--kubeconfig",
            ])
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            answers: None,
        })
    }

    /// What it has done.
    pub(crate) fn counts(&mut self) -> Result<Counts, AnyError> {
        let questions = self.child.stdin.as_mut().ok_or("no standard input")?;
        questions.write_all(b"\n")?;
        let mut line = String::new();
        let answers = self.answers.as_mut().ok_or("no standard output")?;
        answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Result<Usage, AnyError> {
        let pid = self.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u32 = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Usage {
            cpu: f64::from(ticks) / 100.0,
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
        })
    }
}
