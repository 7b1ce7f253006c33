//! What other programs may do with a local Kthena: look, change, stop, forget.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, io::AsyncRead};
use k8s_openapi::api::core::v1::Pod;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{ClientConfig, ClientError, connect};
use kube::Client;
use kube::api::{Api, ListParams, LogParams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::apply::{self, ApplyError};
use crate::layout::{Layout, LayoutError, Running};
use crate::manifest::{self, ManifestFault};
use crate::view::View;
use crate::{frame, loads, router_config};

/// Longest that a program may take to stop by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks whether it has.
const STOP_PERIOD: Duration = Duration::from_millis(50);

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing runs.
    #[error("kthena does not run on {}; start it with `kthena local up -f FILE`", .0.display())]
    NotRunning(PathBuf),
    /// It runs and must not.
    #[error("kthena runs on {} (process {pid}); stop it first with `kthena local down`", root.display())]
    StillRunning {
        /// The state folder.
        root: PathBuf,
        /// Process id of its owner.
        pid: u32,
    },
    /// It was told to stop and did not.
    #[error("process {pid} did not stop within {} s; its log is {}", STOP_PATIENCE.as_secs(), log.display())]
    Stuck {
        /// Process id.
        pid: u32,
        /// Its log.
        log: PathBuf,
    },
    /// The state folder cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The manifests cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Manifests(Vec<ManifestFault>),
    /// The manifests are refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The API server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server refuses.
    #[error("the API server: {0}")]
    Api(#[source] Box<kube::Error>),
    /// A file cannot be used, or nothing can be shown.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl From<kube::Error> for ControlError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ControlError {
    let what = what.into();
    move |source| ControlError::Io { what, source }
}

/// The program that runs on `layout`.
///
/// # Errors
///
/// If none does.
pub fn running(layout: &Layout) -> Result<Running, ControlError> {
    layout
        .running()?
        .ok_or_else(|| ControlError::NotRunning(layout.root().to_owned()))
}

async fn client(layout: &Layout) -> Result<Client, ControlError> {
    running(layout)?;
    let config = ClientConfig {
        kubeconfig: Some(layout.kubeconfig()),
        ..ClientConfig::default()
    };
    Ok(connect(&config).await?)
}

/// Writes what runs and how busy it is.
///
/// # Errors
///
/// If nothing runs or it cannot be asked.
pub async fn status(
    layout: &Layout,
    width: Option<usize>,
    out: &mut impl Write,
) -> Result<(), ControlError> {
    let owner = running(layout)?;
    let client = client(layout).await?;
    let servings: Api<ModelServing> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client);
    let everything = ListParams::default();
    let (servings, pods) = (
        servings.list(&everything).await?,
        pods.list(&everything).await?,
    );
    let mut view = View::of(&servings.items, &pods.items);
    loads::complete(&mut view, &reqwest::Client::new()).await;

    let router = owner.router.as_deref().unwrap_or("not yet");
    let mut text = format!("process {}, serving on {router}\n", owner.pid);
    for line in frame::lines(&view, width) {
        text.push_str(&line);
        text.push('\n');
    }
    out.write_all(text.as_bytes()).map_err(io_error("output"))
}

/// Applies manifests to what runs, all of them or, with every fault told, none.
///
/// # Errors
///
/// If nothing runs, or something is wrong with the manifests.
pub async fn apply(
    layout: &Layout,
    paths: &[PathBuf],
    out: &mut impl Write,
) -> Result<(), ControlError> {
    let manifests = manifest::load(paths).map_err(ControlError::Manifests)?;
    let faults = router_config::faults(&manifests);
    if !faults.is_empty() {
        return Err(ControlError::Manifests(faults));
    }
    let client = client(layout).await?;
    for applied in apply::apply(&client, &manifests).await? {
        writeln!(out, "{} applied", applied.object).map_err(io_error("output"))?;
    }
    Ok(())
}

/// Which log of which pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// `name`, or `namespace/name`.
    pub pod: String,
    /// Absent = the only one, or the first.
    pub container: Option<String>,
    /// Go on as the log grows.
    pub follow: bool,
    /// The log before the last restart.
    pub previous: bool,
    /// Only so many lines from the end.
    pub tail: Option<i64>,
}

/// Writes the log of a pod.
///
/// # Errors
///
/// If nothing runs, there is no such pod, or it has no log.
pub async fn logs(
    layout: &Layout,
    request: &LogRequest,
    out: &mut impl Write,
) -> Result<(), ControlError> {
    let (namespace, name) = request
        .pod
        .split_once('/')
        .unwrap_or(("default", &request.pod));
    let pods: Api<Pod> = Api::namespaced(client(layout).await?, namespace);
    let params = LogParams {
        container: request.container.clone(),
        follow: request.follow,
        previous: request.previous,
        tail_lines: request.tail,
        ..LogParams::default()
    };
    let stream = pods.log_stream(name, &params).await?;
    copy(stream, out).await.map_err(io_error("log"))
}

async fn copy(stream: impl AsyncRead, out: &mut impl Write) -> io::Result<()> {
    let mut stream = std::pin::pin!(stream);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return out.flush();
        }
        out.write_all(&buffer[..read])?;
        out.flush()?;
    }
}

/// Stops the program that runs on `layout` and waits until it has; answers its process id.
///
/// # Errors
///
/// If nothing runs, or it does not stop.
pub async fn down(layout: &Layout) -> Result<u32, ControlError> {
    let owner = running(layout)?;
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)
            .map_err(|error| io_error(format!("process {}", owner.pid))(error.into()))?;
    }
    let deadline = Instant::now() + STOP_PATIENCE;
    // It gives the folder back a moment before its process is gone.
    while layout.running()?.is_some() || process.as_ref().is_some_and(is_alive) {
        if Instant::now() > deadline {
            return Err(ControlError::Stuck {
                pid: owner.pid,
                log: layout.log(),
            });
        }
        tokio::time::sleep(STOP_PERIOD).await;
    }
    kthena_node::reap(&layout.node_state());
    Ok(owner.pid)
}

fn is_alive(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ended| ended == 0)
}

/// Ends whatever a crash left behind and removes the state folder.
///
/// # Errors
///
/// If it is in use or cannot be removed.
pub fn reset(layout: &Layout) -> Result<(), ControlError> {
    if let Some(owner) = layout.running()? {
        return Err(ControlError::StillRunning {
            root: layout.root().to_owned(),
            pid: owner.pid,
        });
    }
    kthena_node::reap(&layout.node_state());
    match fs::remove_dir_all(layout.root()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(layout.root().display().to_string())(error))
        }
        _ => Ok(()),
    }
}
