//! Reads the logs of containers: what the supervisor wrote, as `kubectl logs` wants it.
//!
//! Reading needs nothing but the state folder, so it works while the agent is away. A followed log ends when its
//! container does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::plan::status::container_id;
use crate::state::{self, PodFolder, PodRecord};
use crate::supervisor::logfile::rotated;
use crate::supervisor::record;

/// Between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for a slow reader.
const WAITING: usize = 4;
/// More files than this are never kept.
const MOST_FILES: u32 = 1000;

/// What to read of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as the container writes, until it ends.
    pub follow: bool,
    /// Only so many lines at the end.
    pub tail_lines: Option<u64>,
    /// The run of the container before the present one.
    pub previous: bool,
    /// Only what was written since.
    pub since: Option<Timestamp>,
    /// Each line begins with the time it was written.
    pub timestamps: bool,
    /// Not more than so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why there is no log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The pod is not on this node.
    #[error("pod {namespace}/{pod} has not run on this node")]
    NoPod {
        /// Namespace.
        namespace: String,
        /// Pod.
        pod: String,
    },
    /// The pod has several containers and none was named.
    #[error("a container name must be specified for pod {pod}, choose one of: [{}]", .choices.join(" "))]
    Ambiguous {
        /// Pod.
        pod: String,
        /// Its containers that have started.
        choices: Vec<String>,
    },
    /// The container has not started yet.
    #[error("container {container:?} in pod {pod:?} is waiting to start")]
    NotStarted {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
    /// There is no earlier run of it.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious {
        /// Pod.
        pod: String,
        /// Container.
        container: String,
    },
}

/// Reads the logs in one state folder.
#[derive(Debug, Clone)]
pub struct LogReader {
    state_dir: PathBuf,
}

impl LogReader {
    /// A reader of the logs below `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    /// The log of a container; without a name, of the only container that has started.
    pub fn read(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        options: LogOptions,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<>, LogError> {
        let source = self.find(namespace, pod, container, options.previous)?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            if let Err(error) = source.copy(&options, &sender).await {
                // A reader that has gone needs no error.
                drop(sender.send(Err(error)).await);
            }
        });
        Ok(Box::pin(stream::unfold(
            receiver,
            |mut receiver| async move {
                let item = receiver.recv().await?;
                Some((item, receiver))
            },
        )))
    }

    fn find(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        previous: bool,
    ) -> Result<Source, LogError> {
        let mut records = state::records(&self.state_dir);
        records.retain(|record| record.namespace == namespace && record.name == pod);
        // Of two pods of one name the younger one is meant.
        let record = records
            .into_iter()
            .max_by_key(|record| record.memory.accepted_at)
            .ok_or_else(|| LogError::NoPod {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
            })?;
        let container = choose(&record, container)?;
        let attempt = record.memory.container(&container).attempt;
        let missing = || {
            let (pod, container) = (pod.to_owned(), container.clone());
            if previous {
                LogError::NoPrevious { pod, container }
            } else {
                LogError::NotStarted { pod, container }
            }
        };
        let attempt = if previous {
            attempt.saturating_sub(1)
        } else {
            attempt
        };
        let path = PodFolder::new(&self.state_dir, &record.uid).log(&container, attempt);
        if attempt == 0 || !path.exists() {
            return Err(missing());
        }
        let id = container_id(&record.uid, &container, attempt);
        Ok(Source {
            state_dir: self.state_dir.clone(),
            id,
            path,
        })
    }
}

fn choose(record: &PodRecord, container: Option<&str>) -> Result<String, LogError> {
    if let Some(container) = container {
        return Ok(container.to_owned());
    }
    let mut names = record.memory.containers.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(LogError::Ambiguous {
            pod: record.name.clone(),
            choices: record.memory.containers.keys().cloned().collect(),
        }),
    }
}

/// One run of a container.
struct Source {
    state_dir: PathBuf,
    id: String,
    path: PathBuf,
}

type Sender = mpsc::Sender<io::Result<Bytes>>;

impl Source {
    async fn copy(&self, options: &LogOptions, sender: &Sender) -> io::Result<()> {
        let files = self.files();
        let skip = match options.tail_lines {
            Some(wanted) => Some(count_back(&files, wanted).await?),
            None => None,
        };
        let mut lines = Lines::new(options);
        for (index, path) in files.iter().enumerate().rev() {
            let Some(mut file) = open(path).await? else {
                continue;
            };
            lines.skip = match skip {
                Some((first, _)) if index > first => continue,
                Some((first, lines)) if index == first => lines,
                _ => 0,
            };
            if index == 0 && options.follow {
                return self.follow(file, &mut lines, sender).await;
            }
            while let Some(chunk) = chunk(&mut file).await? {
                if !lines.pass(&chunk, sender).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Goes on with the current file, and with the one after it when it is rotated away.
    async fn follow(&self, mut file: File, lines: &mut Lines, sender: &Sender) -> io::Result<()> {
        loop {
            // Asked before reading, so that nothing written before the end is missed.
            let over = self.is_over();
            while let Some(chunk) = chunk(&mut file).await? {
                if !lines.pass(&chunk, sender).await {
                    return Ok(());
                }
            }
            if let Some(next) = self.after(&file).await? {
                file = next;
                continue;
            }
            if over {
                return Ok(());
            }
            tokio::select! {
                () = sender.closed() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The file that came after `file`, if that has been rotated away.
    async fn after(&self, file: &File) -> io::Result<Option<File>> {
        let inode = file.metadata().await?.ino();
        let files = self.files();
        let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.ino() == inode);
        match files.iter().position(is_it) {
            Some(0) => Ok(None),
            Some(age) => open(&files[age - 1]).await,
            // Dropped while it was read: go on with the oldest that is left.
            None => open(files.last().unwrap_or(&self.path)).await,
        }
    }

    fn is_over(&self) -> bool {
        !self.path.exists() || !record::is_open(&self.state_dir, &self.id)
    }

    /// The files of the run, the current one first.
    fn files(&self) -> Vec<PathBuf> {
        let older = (1..MOST_FILES)
            .map(|age| rotated(&self.path, age))
            .take_while(|path| path.exists());
        std::iter::once(self.path.clone()).chain(older).collect()
    }
}

/// Where the last `wanted` lines begin: index of the file, and lines to pass over in it.
async fn count_back(files: &[PathBuf], wanted: u64) -> io::Result<(usize, u64)> {
    let mut missing = wanted;
    for (index, path) in files.iter().enumerate() {
        let Some(mut file) = open(path).await? else {
            continue;
        };
        let mut found = 0;
        while let Some(chunk) = chunk(&mut file).await? {
            found += memchr::memchr_iter(b'\n', &chunk).count() as u64;
        }
        if found >= missing {
            return Ok((index, found - missing));
        }
        missing -= found;
    }
    Ok((files.len().saturating_sub(1), 0))
}

async fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn chunk(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; CHUNK];
    let count = file.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok((count > 0).then_some(buffer))
}

/// Turns lines of the file into lines for the reader.
struct Lines {
    skip: u64,
    since: Option<String>,
    timestamps: bool,
    left: u64,
    partial: Vec<u8>,
    continued: bool,
}

impl Lines {
    fn new(options: &LogOptions) -> Self {
        Self {
            skip: 0,
            since: options.since.map(|since| format!("{since:.9}")),
            timestamps: options.timestamps,
            left: options.limit_bytes.unwrap_or(u64::MAX),
            partial: Vec::new(),
            continued: false,
        }
    }

    /// Sends the whole lines in `bytes`; false when there is nothing more to send.
    async fn pass(&mut self, bytes: &[u8], sender: &Sender) -> bool {
        let mut out = Vec::with_capacity(bytes.len());
        let mut pending = std::mem::take(&mut self.partial);
        pending.extend_from_slice(bytes);
        let mut rest = pending.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line(&rest[..end], &mut out);
            rest = &rest[end + 1..];
        }
        self.partial = rest.to_vec();
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        out.truncate(room);
        self.left -= out.len() as u64;
        let sent = out.is_empty() || sender.send(Ok(Bytes::from(out))).await.is_ok();
        sent && self.left > 0
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(time), Some(tag), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        // Times are written with the same number of digits, so they compare as texts.
        if self
            .since
            .as_ref()
            .is_some_and(|since| time < since.as_bytes())
        {
            return;
        }
        if self.timestamps && !self.continued {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.continued = tag == b"P";
        if !self.continued {
            out.push(b'\n');
        }
    }
}
