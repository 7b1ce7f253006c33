//! The ways to ask something of a container: an HTTP request, a TCP connection, a command. Probes and hooks use them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tls;

/// How much of an answer or of a command's output is looked at.
const LOOKED_AT: usize = 4096;

/// An HTTP GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpCheck {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// A command in the surroundings of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecCheck {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
}

/// Something to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Http(HttpCheck),
    Tcp {
        host: String,
        port: u16,
    },
    Exec(ExecCheck),
    Sleep(Duration),
    /// Cannot be asked here; always fails with this reason.
    Impossible(String),
}

impl Check {
    /// Asks, for at most `limit`. An error says what went wrong, for the pod's events.
    pub(crate) async fn run(&self, limit: Duration) -> Result<(), String> {
        match self {
            Self::Exec(exec) => exec.run(limit).await,
            Self::Impossible(reason) => Err(reason.clone()),
            Self::Http(http) => within(limit, http.run()).await,
            Self::Tcp { host, port } => {
                let connect = async {
                    let dialed = TcpStream::connect((host.as_str(), *port)).await;
                    dialed
                        .map(drop)
                        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))
                };
                within(limit, connect).await
            }
            Self::Sleep(duration) => {
                tokio::time::sleep((*duration).min(limit)).await;
                Ok(())
            }
        }
    }
}

async fn within(
    limit: Duration,
    check: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    timeout(limit, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}s", limit.as_secs_f64())))
}

impl HttpCheck {
    async fn run(&self) -> Result<(), String> {
        let target = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("dial tcp {target}: {error}"))?;
        let status = if self.tls {
            let stream = tls::connect(stream, &self.host).await?;
            self.exchange(stream).await
        } else {
            self.exchange(stream).await
        };
        match status.map_err(|error| format!("GET {target}{}: {error}", self.path))? {
            200..=399 => Ok(()),
            status => Err(format!("HTTP check failed with status code: {status}")),
        }
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<u16, String> {
        stream
            .write_all(self.request().as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::with_capacity(256);
        let mut buffer = [0_u8; 256];
        while !answer.contains(&b'\n') && answer.len() < LOOKED_AT {
            match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error.to_string()),
            }
        }
        status_of(&answer).ok_or_else(|| "the answer is not HTTP".to_owned())
    }

    /// The request as text; headers of the user replace the usual ones.
    fn request(&self) -> String {
        let host = format!("{}:{}", self.host, self.port);
        let usual = [
            ("Host", host.as_str()),
            ("User-Agent", "kube-probe/kthena"),
            ("Accept", "*/*"),
        ];
        let path = if self.path.starts_with('/') {
            self.path.clone()
        } else {
            format!("/{}", self.path)
        };
        let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
        let replaced = |name: &str| {
            self.headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in usual
            .into_iter()
            .filter(|(name, _)| !replaced(name))
            .chain(own)
        {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text
    }
}

/// The status code in the first line of an HTTP/1 answer.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

impl ExecCheck {
    async fn run(&self, limit: Duration) -> Result<(), String> {
        let (program, args) = self.argv.split_first().ok_or("no command")?;
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        // Dropped on every way out, so that nothing of the command outlives the check.
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finish = async {
            let ended = async {
                let status = child.wait().await;
                group.kill();
                status
            };
            let (status, out, err) = tokio::join!(ended, beginning(stdout), beginning(stderr));
            let status = status.map_err(|error| error.to_string())?;
            if status.success() {
                return Ok(());
            }
            Err(format!(
                "command {program} failed ({status}): {}{}",
                out.trim(),
                err.trim()
            ))
        };
        let late = || {
            Err(format!(
                "command {program} timed out after {}s",
                limit.as_secs_f64()
            ))
        };
        timeout(limit, finish).await.unwrap_or_else(|_| late())
    }
}

/// The process group of a command; zero once it has been killed, because its number may then name another.
struct Group(AtomicI32);

impl Group {
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(AtomicI32::new(number.unwrap_or_default()))
    }

    fn kill(&self) {
        if let Some(group) = Pid::from_raw(self.0.swap(0, Ordering::Relaxed)) {
            // A group that has ended by itself is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end and keeps the beginning.
async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let mut buffer = [0_u8; 1024];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            let room = LOOKED_AT.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The address a check goes to: its own `host`, or the pod.
pub(crate) fn host_or(host: Option<&String>, pod: IpAddr) -> String {
    host.filter(|host| !host.is_empty())
        .cloned()
        .unwrap_or_else(|| pod.to_string())
}
