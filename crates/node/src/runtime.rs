//! The agent's side of the supervisor: finds it or starts it, asks it, and hears from it how containers end.
//!
//! # Invariants
//!
//! - There is at most one supervisor per folder, and before one is started nothing of an earlier one is left.
//! - Every end of a container is delivered, or [`Incoming::Lost`] is.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::NodeError;
use crate::supervisor::protocol::{Call, Known, Launch, Message, Reply, Request, VERSION};
use crate::supervisor::{SOCKET, reap};

/// How long an answer, or a supervisor that has just been started, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to reach a starting supervisor.
const KNOCK: Duration = Duration::from_millis(10);
/// Ends that may wait to be dealt with.
const WAITING: usize = 1024;

/// What the supervisor tells by itself.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A container has ended.
    Ended(Known),
    /// The supervisor died and another is in its place: no container of before is left.
    Lost,
}

type Replies = Arc<std::sync::Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

/// A connection that lasts: clones of the `Arc` share it.
#[derive(Debug)]
pub(crate) struct Runtime {
    dir: PathBuf,
    shim: Vec<String>,
    orphan_grace: Duration,
    seq: AtomicU64,
    writer: Mutex<Option<OwnedWriteHalf>>,
    replies: Replies,
    /// The supervisor was told to end: its end is no surprise.
    closing: AtomicBool,
}

impl Runtime {
    /// Connects to the supervisor of `dir`, starting it if there is none.
    pub(crate) async fn open(
        dir: &Path,
        shim: &[String],
        orphan_grace: Duration,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Incoming>, JoinHandle<()>), NodeError> {
        let runtime = Arc::new(Self {
            dir: dir.to_owned(),
            shim: shim.to_vec(),
            orphan_grace,
            seq: AtomicU64::new(1),
            writer: Mutex::new(None),
            replies: Replies::default(),
            closing: AtomicBool::new(false),
        });
        let reader = runtime.connect().await?;
        let (sender, incoming) = mpsc::channel(WAITING);
        let task = tokio::spawn(Arc::clone(&runtime).listen(reader, sender));
        Ok((runtime, incoming, task))
    }

    /// Starts a process, or finds it if it was started before.
    pub(crate) async fn start(&self, launch: Launch) -> Result<Known, String> {
        match self.ask(Request::Start(Box::new(launch))).await? {
            Reply::Started(known) => Ok(known),
            Reply::Failed { message } => Err(message),
            other => Err(format!("unexpected answer {other:?}")),
        }
    }

    /// Everything the supervisor knows.
    pub(crate) async fn list(&self) -> Result<Vec<Known>, String> {
        match self.ask(Request::List).await? {
            Reply::Containers(known) => Ok(known),
            other => Err(format!("unexpected answer {other:?}")),
        }
    }

    /// Asks for something that has no answer of interest; a failure is logged.
    pub(crate) async fn tell(&self, request: Request) {
        if let Err(reason) = self.ask(request).await {
            tracing::warn!(reason, "supervisor does not answer");
        }
    }

    /// Ends the supervisor and all it holds, and waits until its process is gone: it answers before it has killed
    /// anything. The answer is read by the task that delivers ends, which lasts for as long as somebody can receive them.
    pub(crate) async fn shutdown(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let process = self.supervisor_process().await;
        self.tell(Request::Shutdown).await;
        let Some(process) = process else {
            return;
        };
        let gone = tokio::task::spawn_blocking(move || {
            let mut watched = [PollFd::new(&process, PollFlags::IN)];
            let patience = Timespec::try_from(PATIENCE).ok();
            poll(&mut watched, patience.as_ref()).is_ok_and(|ready| ready > 0)
        });
        if !gone.await.unwrap_or_default() {
            tracing::warn!(dir = %self.dir.display(), "the supervisor takes long to end");
        }
    }

    /// The supervisor's process, which becomes readable when it ends.
    async fn supervisor_process(&self) -> Option<OwnedFd> {
        let writer = self.writer.lock().await;
        let pid = writer.as_ref()?.as_ref().peer_cred().ok()?.pid()?;
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
    }

    async fn ask(&self, request: Request) -> Result<Reply, String> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let mut line =
            serde_json::to_vec(&Call { seq, request }).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let (sender, reply) = oneshot::channel();
        self.lock_replies().insert(seq, sender);
        let answer = async {
            let mut writer = self.writer.lock().await;
            let stream = writer.as_mut().ok_or("no supervisor")?;
            stream
                .write_all(&line)
                .await
                .map_err(|error| error.to_string())?;
            drop(writer);
            reply
                .await
                .map_err(|_| "the supervisor has gone".to_owned())
        };
        let answer = timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        self.lock_replies().remove(&seq);
        answer
    }

    fn lock_replies(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Reply>>> {
        self.replies
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn listen(
        self: Arc<Self>,
        mut reader: BufReader<OwnedReadHalf>,
        sender: mpsc::Sender<Incoming>,
    ) {
        loop {
            self.read(&mut reader, &sender).await;
            if sender.is_closed() || self.closing.load(Ordering::Relaxed) {
                return;
            }
            tracing::warn!(dir = %self.dir.display(), "the supervisor has died, starting another");
            *self.writer.lock().await = None;
            self.lock_replies().clear();
            reader = loop {
                match self.connect().await {
                    Ok(reader) => break reader,
                    Err(error) => tracing::error!(%error, "cannot start a supervisor"),
                }
                sleep(PATIENCE).await;
            };
            if sender.send(Incoming::Lost).await.is_err() {
                return;
            }
        }
    }

    /// Delivers messages until the supervisor or the agent has gone.
    async fn read(&self, reader: &mut BufReader<OwnedReadHalf>, sender: &mpsc::Sender<Incoming>) {
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = tokio::select! {
                count = reader.read_until(b'\n', &mut line) => count,
                () = sender.closed() => return,
            };
            if !count.is_ok_and(|count| count > 0) {
                return;
            }
            match serde_json::from_slice(&line) {
                Ok(Message::Reply { seq, reply }) => {
                    if let Some(waiting) = self.lock_replies().remove(&seq) {
                        // Whoever asked may have given up.
                        drop(waiting.send(reply));
                    }
                }
                Ok(Message::Ended(known)) => {
                    if sender.send(Incoming::Ended(known)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a message of the supervisor that cannot be read");
                }
            }
        }
    }

    async fn connect(&self) -> Result<BufReader<OwnedReadHalf>, NodeError> {
        if let Ok(stream) = self.dial().await
            && let Some(reader) = self.greet(stream).await
        {
            return Ok(reader);
        }
        let dir = self.dir.clone();
        let left = tokio::task::spawn_blocking(move || reap::kill_all(&dir))
            .await
            .unwrap_or_default();
        if left > 0 {
            tracing::info!(left, "killed what an earlier supervisor left behind");
        }
        let mut child = self.spawn()?;
        tokio::spawn(async move {
            // Collected so that a supervisor that dies before us is no zombie.
            drop(child.wait().await);
        });
        let trouble = |reason: &str| NodeError::Supervisor {
            dir: self.dir.clone(),
            reason: reason.to_owned(),
        };
        let knock = async {
            loop {
                if let Ok(stream) = self.dial().await {
                    return self.greet(stream).await;
                }
                sleep(KNOCK).await;
            }
        };
        let reader = timeout(PATIENCE, knock)
            .await
            .map_err(|_| trouble("its socket does not appear"))?;
        reader.ok_or_else(|| trouble("it speaks another version"))
    }

    /// The path of a socket is limited to 107 bytes, so the folder is reached through a descriptor.
    async fn dial(&self) -> std::io::Result<UnixStream> {
        let folder = File::open(&self.dir)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())).await
    }

    /// Takes the connection if the other side speaks our version; tells it to end otherwise.
    async fn greet(&self, stream: UnixStream) -> Option<BufReader<OwnedReadHalf>> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let call = |request| {
            let mut line = serde_json::to_vec(&Call { seq: 0, request }).unwrap_or_default();
            line.push(b'\n');
            line
        };
        writer.write_all(&call(Request::Hello)).await.ok()?;
        let mut line = Vec::new();
        timeout(PATIENCE, reader.read_until(b'\n', &mut line))
            .await
            .ok()?
            .ok()?;
        let spoken = match serde_json::from_slice(&line) {
            Ok(Message::Reply {
                reply: Reply::Version { version },
                ..
            }) => Some(version),
            _ => None,
        };
        if spoken == Some(VERSION) {
            *self.writer.lock().await = Some(writer);
            return Some(reader);
        }
        tracing::warn!(?spoken, "replacing a supervisor of another version");
        writer.write_all(&call(Request::Shutdown)).await.ok()?;
        None
    }

    fn spawn(&self) -> Result<tokio::process::Child, NodeError> {
        let folder = |source| NodeError::Folder {
            path: self.dir.clone(),
            source,
        };
        let log = File::create(self.dir.join("supervisor.log")).map_err(folder)?;
        let (program, args) = self
            .shim
            .split_first()
            .ok_or_else(|| NodeError::Supervisor {
                dir: self.dir.clone(),
                reason: "no program is configured for it".to_owned(),
            })?;
        Command::new(program)
            .args(args)
            .arg("supervise")
            .arg(&self.dir)
            .arg(self.orphan_grace.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|source| NodeError::Folder {
                path: program.into(),
                source,
            })
    }
}
