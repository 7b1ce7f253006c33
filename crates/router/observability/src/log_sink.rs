//! Takes access-log lines off the request path.
//!
//! Lines are appended to one bounded buffer; a thread empties it, whole lines per write. After each write the thread
//! rests a moment, so that a busy router wakes it a hundred times a second and not once per request.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that may wait for the sink before lines are dropped.
const CAPACITY: usize = 4 << 20;
/// Pause between two writes.
const REST: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, created with mode 0644 as the umask allows.
    File(PathBuf),
}

/// A sink for lines. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct LogSink {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lines: String,
    sleeping: bool,
    closed: bool,
    reopen: bool,
}

impl LogSink {
    /// Opens `output`; a file that cannot be opened is an error.
    pub fn open(output: LogOutput) -> io::Result<Self> {
        let target = open(&output)?;
        Self::start(output, target)
    }

    fn start(output: LogOutput, target: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .stack_size(128 << 10)
            .spawn(move || write_lines(&own, &output, target))?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// Queues one line, which ends in a line feed. Never blocks on the output.
    pub fn push(&self, line: &str) {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > CAPACITY {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.lines.push_str(line);
        if std::mem::take(&mut queue.sleeping) {
            drop(queue);
            self.shared.filled.notify_one();
        }
    }

    /// Lines that were dropped because the output was too slow or failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file again before the next write, after it was rotated away.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to say.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and takes them. `None` once closed and empty.
    fn take(&self, spare: String) -> Option<(String, bool)> {
        let mut queue = self.lock();
        while queue.lines.is_empty() {
            if queue.closed {
                return None;
            }
            queue.sleeping = true;
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some((
            std::mem::replace(&mut queue.lines, spare),
            std::mem::take(&mut queue.reopen),
        ))
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

fn open(output: &LogOutput) -> io::Result<Box<dyn Write + Send>> {
    Ok(match output {
        LogOutput::Stdout => Box::new(io::stdout()),
        LogOutput::Stderr => Box::new(io::stderr()),
        LogOutput::File(path) => Box::new(append_to(path)?),
    })
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write_lines(shared: &Shared, output: &LogOutput, target: Box<dyn Write + Send>) {
    let mut target = Target::new(target);
    let mut spare = String::new();
    // Lines lost since the output failed; `None` = it works.
    let mut failing: Option<u64> = None;
    while let Some((mut lines, reopen)) = shared.take(std::mem::take(&mut spare)) {
        if reopen {
            match open(output) {
                Ok(fresh) => target = Target::new(fresh),
                Err(error) => {
                    tracing::warn!(%error, "access log cannot be reopened; the old file is kept");
                }
            }
        }
        match (target.append(lines.as_bytes()), failing) {
            (Ok(()), None) => {}
            (Ok(()), Some(lost)) => {
                tracing::info!(lost, "the access log is written again");
                failing = None;
            }
            (Err(Unwritten { lost, error }), before) => {
                shared.dropped.fetch_add(lost, Ordering::Relaxed);
                if before.is_none() {
                    tracing::warn!(%error, "the access log cannot be written; requests are served, their lines are lost");
                }
                failing = Some(before.unwrap_or(0) + lost);
            }
        }
        lines.clear();
        lines.shrink_to(64 << 10);
        spare = lines;
        if !shared.is_closed() {
            std::thread::sleep(REST);
        }
    }
}

/// Where lines are written.
struct Target {
    out: Box<dyn Write + Send>,
    /// The last line was cut short, so the next one must not be written behind it.
    torn: bool,
}

/// Lines that did not get out whole, and why.
struct Unwritten {
    lost: u64,
    error: io::Error,
}

impl Target {
    fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, torn: false }
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        let mut rest = lines;
        match self.write(&mut rest) {
            Ok(()) => Ok(()),
            Err(error) => {
                let written = &lines[..lines.len() - rest.len()];
                self.torn |= written.last().is_some_and(|last| *last != b'\n');
                let lost = rest.split(|byte| *byte == b'\n').count() as u64 - 1;
                Err(Unwritten { lost, error })
            }
        }
    }

    /// Leaves in `rest` what was not taken.
    fn write(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => *rest = &rest[taken..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
