//! A `kthena local up` of our own, in a state folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

use crate::family;

/// Longest that everything may take to end before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// A local Kthena. When this drops, all its processes have ended and its folder is gone.
pub(crate) struct Up {
    kthena: PathBuf,
    folder: TempDir,
    child: Child,
    stdout: ChildStdout,
    said: Vec<u8>,
    started: Instant,
}

impl Up {
    /// Starts `kthena local up` with nothing kept from before, on any free port.
    pub(crate) fn start(kthena: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kthena-bench-").tempdir()?;
        let started = Instant::now();
        let mut child = Command::new(kthena)
            .args([
                "local",
                "up",
                "--engine",
                "simulated",
                "--port",
                "0",
                "--lines",
            ])
            .args(arguments)
            .env("KTHENA_STATE_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", kthena.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Self {
            kthena: kthena.to_owned(),
            folder,
            child,
            stdout,
            said: Vec::new(),
            started,
        })
    }

    /// Waits until what was said satisfies `is_there`; answers the time since the start.
    pub(crate) async fn until(
        &mut self,
        patience: Duration,
        is_there: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Duration> {
        let read = async {
            while !is_there(&String::from_utf8_lossy(&self.said)) {
                let read = self.stdout.read_buf(&mut self.said).await?;
                ensure!(read > 0, "kthena ended early");
            }
            Ok(self.started.elapsed())
        };
        match tokio::time::timeout(patience, read).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "kthena took longer than {} s; it said:\n{}",
                patience.as_secs(),
                String::from_utf8_lossy(&self.said)
            ),
        }
    }

    /// Waits until everything is up and served.
    pub(crate) async fn until_serving(&mut self, patience: Duration) -> anyhow::Result<Duration> {
        self.until(patience, |said| address(said).is_some()).await
    }

    /// Where the router answers, once everything is served.
    pub(crate) fn router(&self) -> anyhow::Result<std::net::SocketAddr> {
        let said = String::from_utf8_lossy(&self.said);
        Ok(address(&said)
            .context("the router's address is not known")?
            .parse()?)
    }

    /// Process id of the program itself.
    pub(crate) fn program(&self) -> Option<u32> {
        self.child.id()
    }

    /// All processes.
    pub(crate) fn family(&self) -> Vec<u32> {
        family::of(self.folder.path())
    }

    /// Waits until the program has ended by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).await?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "kthena ended with {status}");
        Ok(())
    }

    /// Runs `kthena local down`; answers how long it took.
    pub(crate) async fn down(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut down = Command::new(&self.kthena);
        down.args(["local", "down"])
            .env("KTHENA_STATE_DIR", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let (status, ended) = tokio::join!(down.status(), self.ended());
        ended?;
        ensure!(status?.success(), "`kthena local down` failed");
        Ok(began.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            send(pid, Signal::TERM);
        }
        let patience = Instant::now() + END_PATIENCE;
        loop {
            // Collects the program, which would be a zombie otherwise.
            let _ = self.child.try_wait();
            let left = self.family();
            if left.is_empty() {
                return;
            }
            if Instant::now() > patience {
                for pid in left {
                    send(pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// The address in `serving on http://…, stop with Ctrl-C`.
fn address(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("serving on http://")?;
    Some(rest.split_once(',')?.0)
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_known_once_its_line_is_whole() {
        assert_eq!(
            address("pod a Ready\n\nserving on http://127.0.0.1:80"),
            None
        );
        let whole = "pod a Ready\n\nserving on http://127.0.0.1:8081, stop with Ctrl-C\n";
        assert_eq!(address(whole), Some("127.0.0.1:8081"));
    }
}
